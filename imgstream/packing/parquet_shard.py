"""A Parquet file of image (bytes and path) and label with the features of Hugging Face's datasets; uncompressed, so that each image can be
read by itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet

from imgstream.packing.images import PackedImage

EXTENSION = "parquet"

_GROUP_BYTES, _GROUP_ROWS = 16 << 20, 1000
"""Of a row group, which is in memory as a whole while it is written, and while others read it."""
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


class ParquetShard:
    """Writes images one after another, a row group at a time."""

    def __init__(self, file: BinaryIO, class_names: Sequence[str]) -> None:
        features = {"image": {"_type": "Image"}, "label": {"names": list(class_names), "_type": "ClassLabel"}}
        if not class_names:
            del features["label"]
        fields = [("image", _IMAGE), *([("label", pa.int64())] if class_names else [])]
        self._schema = pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})
        self._writer = pyarrow.parquet.ParquetWriter(
            file, self._schema, compression="none", use_dictionary=False, write_statistics=False, write_page_checksum=True
        )
        self._rows: list[PackedImage] = []
        self._waiting, self.size = 0, 0
        """Bytes of images that are not written yet; and of all so far."""

    def add(self, image: PackedImage) -> None:
        """Write an image, sooner or later."""
        self._rows.append(image)
        self._waiting += len(image.data)
        self.size += len(image.data) + len(image.path) + 16
        if self._waiting >= _GROUP_BYTES or len(self._rows) >= _GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """Write what waits, and the end of the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if not self._rows:
            return
        columns = {"image": pa.array([{"bytes": image.data, "path": image.filename} for image in self._rows], _IMAGE)}
        if "label" in self._schema.names:
            columns["label"] = pa.array([image.label if image.label >= 0 else None for image in self._rows], pa.int64())
        self._writer.write_table(pa.table(columns, self._schema))
        self._rows.clear()
        self._waiting = 0
