"""Writes images into archives and shards, as people's tools do, and says what an index has of them."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

import imgstream as ims
from imgstream.files.reader import FileReader

LIMIT = 1_000_000
"""Pixels."""
Members = dict[str, bytes]
Write = Callable[[Path, Members], Path]


def relative(index: ims.ImageIndex) -> list[str]:
    return [os.fsdecode(index.relative_bytes(i)) for i in range(len(index))]


def fault(index: ims.ImageIndex, row: int = 0) -> str:
    with pytest.raises(ims.BadImage) as error:
        FileReader().read(index.path_bytes(row), LIMIT)
    return str(error.value)


def write_zip(path: Path, members: Members, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, members: Members) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def write_webdataset(path: Path, members: Members) -> Path:
    """Each image with the name of its folder as key.cls."""
    labels = {os.path.splitext(name)[0] + ".cls": name.partition("/")[0].encode() for name in members}
    both = [item for pair in zip(members.items(), labels.items(), strict=True) for item in pair]
    return write_tar(path, dict(both))


def write_tfrecord(path: Path, members: Members, *, named: bool = True) -> Path:
    """By TensorFlow itself, as its own tools name the features."""
    import tensorflow as tf

    with tf.io.TFRecordWriter(os.fspath(path)) as writer:
        for name, data in members.items():
            values = {"image/encoded": data, "image/class/text": name.partition("/")[0].encode()}
            if named:
                values["image/filename"] = name.encode()
            feature = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for key, value in values.items()}
            feature["image/height"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[48]))
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    return path


HUGGING_FACE = {"huggingface": '{"info": {"features": {"label": {"names": ["light", "dark"], "_type": "ClassLabel"}}}}'}


def write_parquet(path: Path, members: Members, **options: Any) -> Path:
    """As Hugging Face's datasets write images, with class names in an order of their own."""
    images = pa.array([{"bytes": data, "path": name} for name, data in members.items()])
    labels = pa.array([int(name.startswith("dark")) for name in members])
    table = pa.table({"label": labels, "image": images}, metadata=HUGGING_FACE)
    pyarrow.parquet.write_table(table, path, **{"row_group_size": 16, **options})
    return path


WRITERS: dict[str, tuple[str, Write]] = {
    "zip": ("p.zip", write_zip),
    "deflated zip": ("p.zip", lambda path, members: write_zip(path, members, zipfile.ZIP_DEFLATED)),
    "zip of a folder": ("p.zip", lambda path, members: write_zip(path, {f"photos/{name}": data for name, data in members.items()})),
    "tar": ("p.tar", write_tar),
    "webdataset": ("p.tar", write_webdataset),
    "tfrecord": ("p.tfrecord", write_tfrecord),
    "parquet": ("p.parquet", write_parquet),
    "plain parquet": ("p.parquet", partial(write_parquet, compression="none", use_dictionary=False)),
    "parquet of new pages": ("p.parquet", partial(write_parquet, compression="zstd", data_page_version="2.0", write_page_checksum=True)),
}
