"""Features as a Parquet file, written and read a row group at a time in constant memory, whole or not at all. See docs/formats.md."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from imgstream.embedding.embed import Embedding
from imgstream.errors import DatasetError, OutputError
from imgstream.files.atomic import atomic_file, check_target
from imgstream.files.csv_output import path_b64, utf8
from imgstream.prediction.rows import shown
from imgstream.spec import SampleSpec

FORMAT_VERSION = 1
_KEY = b"imgstream.features"
_COLUMNS = ("path", "path_b64", "label", "error", "features")
_GROUP_ROWS, _GROUP_BYTES = 4096, 8 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeaturesInfo:
    """How features were made."""

    model: str
    """The model's name."""
    fingerprint: str
    """See `fingerprint`."""
    spec: SampleSpec
    dimensions: int
    """D: the number of features of an image."""

    @classmethod
    def of(cls, model: Any, spec: SampleSpec, name: str) -> FeaturesInfo:
        """The info of a Keras model, images → float32 (B, D), that is called `name`."""
        return cls(model=name, fingerprint=fingerprint(model, spec), spec=spec, dimensions=int(model.output_shape[-1]))

    @property
    def group_rows(self) -> int:
        """Rows in a row group, and so the most that are ever held: 4,096, or as many as take 8 MB."""
        return max(1, min(_GROUP_ROWS, _GROUP_BYTES // (4 * self.dimensions)))

    def to_json(self) -> dict[str, Any]:
        """The fields as values that JSON can hold, read back by from_json."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"format": FORMAT_VERSION, **fields, "spec": self.spec.to_json()}

    @classmethod
    def from_json(cls, data: Any) -> FeaturesInfo:
        """The info that to_json gave. Raises ValueError, or SpecError, which is one, for anything else."""
        if not isinstance(data, dict) or data.get("format") != FORMAT_VERSION:
            found = data.get("format") if isinstance(data, dict) else type(data).__name__
            raise ValueError(f"it has format {found!r}; this imgstream reads format {FORMAT_VERSION}")
        try:
            model, digest, dimensions = str(data["model"]), str(data["fingerprint"]), int(data["dimensions"])
            spec = SampleSpec.from_json(data["spec"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"what it says of its model is not whole: {error}") from error
        if dimensions < 1:
            raise ValueError(f"it says that images have {dimensions} features")
        return cls(model=model, fingerprint=digest, spec=spec, dimensions=dimensions)


def fingerprint(model: Any, spec: SampleSpec) -> str:
    """What features depend on, as 64 hex digits: SHA-256 of the weights of a Keras model, images → features, and of the spec."""
    digest = hashlib.sha256(json.dumps(spec.to_json(), sort_keys=True).encode())
    for weight in model.get_weights():
        digest.update(f"{weight.dtype} {weight.shape}".encode())
        digest.update(np.ascontiguousarray(weight).data)
    return digest.hexdigest()


class Writer:
    """Writes rows in the order in which they are given; open_writer makes it."""

    def __init__(self, file: IO[bytes], info: FeaturesInfo) -> None:
        import pyarrow as pa  # here: the import is not free
        import pyarrow.parquet as pq

        self._pa, self._info = pa, info
        texts = [(name, pa.string()) for name in _COLUMNS[:-1]]
        about = {_KEY: json.dumps(info.to_json(), ensure_ascii=False)}
        self._schema = pa.schema([*texts, ("features", pa.list_(pa.float32()))], metadata=about)
        # No dictionary of paths and features: they are all different, and looking for what repeats costs time and memory.
        self._writer = pq.ParquetWriter(file, self._schema, use_dictionary=["label", "error"])
        self._rows: list[Embedding] = []

    def write(self, row: Embedding) -> None:
        """Add one row. Raises OutputError."""
        self._rows.append(row)
        if len(self._rows) == self._info.group_rows:
            self._flush()

    def close(self) -> None:
        """Write what is still held; open_writer calls it."""
        if self._rows:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        pa, rows = self._pa, self._rows
        values = np.stack([row.features for row in rows if row.features is not None] or [np.zeros(0, np.float32)])
        missing = np.array([row.features is None for row in rows])
        starts = np.concatenate([[0], np.cumsum(~missing)]).astype(np.int32) * self._info.dimensions
        offsets = pa.array(starts, mask=np.append(missing, False))  # where one is null, so is the list that begins there
        columns = [
            pa.array([utf8(row.path) for row in rows], pa.string()),
            pa.array([path_b64(row.path_bytes) for row in rows], pa.string()),
            pa.array([utf8(row.label) for row in rows], pa.string()),
            pa.array([utf8(row.error) for row in rows], pa.string()),
            pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1), pa.float32())),
        ]
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema), row_group_size=self._info.group_rows)
        rows.clear()


@contextlib.contextmanager
def open_writer(path: str | os.PathLike[str], info: FeaturesInfo) -> Iterator[Writer]:
    """A writer of a features file, which appears when the block ends, and not at all if it raises. Raises OutputError."""
    check_output(path)
    with atomic_file(path) as file, contextlib.closing(Writer(file, info)) as writer:
        yield writer


def check_output(path: str | os.PathLike[str]) -> None:
    """Raise OutputError if features plainly cannot be written to `path`, to be called before hours of work. Creates nothing."""
    if Path(path).suffix.lower() != ".parquet":
        raise OutputError(f"features are written as Parquet: end the name {os.fspath(path)!r} in .parquet")
    check_target(path)


class Block(NamedTuple):
    """Some rows of a features file, n of them, m of which have features."""

    paths: list[bytes]
    """n paths, exactly as they were in the index."""
    labels: list[str | None]
    errors: list[str | None]
    features: np.ndarray
    """float32 (m, D): of the rows without an error, in their order."""


class FeaturesFile:
    """A features file to read. Raises DatasetError when it cannot be read, or is no features file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path = os.fspath(path)
        with self._as_dataset_error(), pq.ParquetFile(path) as file:
            about = (file.schema_arrow.metadata or {}).get(_KEY)
            if about is None:
                raise ValueError("it is Parquet, and no file that imgstream embed wrote")
            self.info = FeaturesInfo.from_json(json.loads(about))
            found = {field.name: field.type for field in file.schema_arrow}
            lists = pa.list_(pa.float32()), pa.list_(pa.float32(), self.info.dimensions)  # the second in files of before 28 November 2026
            if found.get("features") not in lists or found != dict.fromkeys(_COLUMNS, pa.string()) | {"features": found["features"]}:
                raise ValueError(f"its columns are not those of features: {', '.join(f'{name} {type_}' for name, type_ in found.items())}")
            self._rows = int(file.metadata.num_rows)

    def __len__(self) -> int:
        """Number of rows, good and bad."""
        return self._rows

    def __iter__(self) -> Iterator[Embedding]:
        """Every row, in the file's order."""
        for block in self.blocks():
            features = iter(block.features)
            for path, label, error in zip(block.paths, block.labels, block.errors, strict=True):
                yield Embedding(shown(path), path, label, error, None if error is not None else next(features))

    def blocks(self) -> Iterator[Block]:
        """All rows in the file's order, at most a row group at a time. Raises DatasetError where the file is damaged."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        with self._as_dataset_error(), pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(self.info.group_rows):
                rows = batch.select(_COLUMNS[:-1]).to_pydict()
                features = batch.column("features")
                if features.is_null().to_pylist() != [error is not None for error in rows["error"]]:
                    raise ValueError("a row has both features and an error, or neither")
                if set(pc.list_value_length(features).drop_null().unique().to_pylist()) - {self.info.dimensions}:
                    raise ValueError(f"a row has not {self.info.dimensions} features")
                values = features.flatten().to_numpy(zero_copy_only=False).reshape(-1, self.info.dimensions)
                paths = [_exact(path, exact) for path, exact in zip(rows["path"], rows["path_b64"], strict=True)]
                yield Block(paths, rows["label"], rows["error"], values)

    @contextlib.contextmanager
    def _as_dataset_error(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, AttributeError, TypeError, NotImplementedError) as error:
            said = (str(error).splitlines() or [""])[0]
            raise DatasetError(f"{self.path!r} cannot be read as features: {said}") from error


def _exact(path: str, exact: str | None) -> bytes:
    return path.encode() if exact is None else base64.b64decode(exact, validate=True)
