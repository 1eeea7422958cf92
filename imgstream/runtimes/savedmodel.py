"""TensorFlow's SavedModel: a folder, for TensorFlow Serving and every program that has TensorFlow. It also takes encoded images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imgstream.errors import ModelError
from imgstream.runtimes.packages import need
from imgstream.runtimes.runtime import Chunk, Format, Precision, Runtime, converting, opening, signature_of
from imgstream.runtimes.saved_operations import check_operations

EXTRA = "assets.extra"
"""The folder in which TensorFlow leaves alone what others put there."""
_GRAPH = "saved_model.pb"
_MOST_METADATA = 16 << 20  # bytes


class SavedModel(Format):
    """A folder with the graph, saved_model.pb, and the weights, variables/."""

    name, title, ending, extra = "savedmodel", "a SavedModel", "", ""
    modules = runs_on = ("tensorflow",)
    precisions = ("float32",)

    def write(  # noqa: D102
        self, model: Any, path: Path, precision: Precision, images: np.ndarray | None = None, in_float: Collection[int] = ()
    ) -> None:
        self.write_endpoints(model, path, {})

    def write_endpoints(self, model: Any, path: Path, endpoints: Mapping[str, tuple[Callable[..., Any], Any]]) -> None:
        """As `write` does, with more `endpoints`, functions of one tensor with its tf.TensorSpec, by name."""
        import keras

        with converting(self.title):
            archive = keras.export.ExportArchive()
            archive.add_endpoint("serve", model.call, signature_of(model))
            for name, (function, signature) in endpoints.items():
                archive.add_endpoint(name, function, [signature])
            archive.write_out(path, verbose=False)

    def describe(self, path: Path, metadata: Mapping[str, str]) -> None:  # noqa: D102
        (path / EXTRA).mkdir(exist_ok=True)
        for name, text in metadata.items():
            (path / EXTRA / name).write_text(text, encoding="utf-8", errors="backslashreplace")

    def open(self, path: Path, chunk: int = 1, threads: int = 1) -> Runtime:  # noqa: D102
        tf = need("tensorflow", "")
        with opening(path, self.title):
            check_operations(path / _GRAPH)
            loaded = tf.saved_model.load(path)
            return _Signature(path, chunk, loaded, _extra_files(path))

    def files(self, path: Path) -> list[Path]:  # noqa: D102
        return [path / _GRAPH, *sorted(file for file in path.glob("variables/*") if file.is_file())]

    def home(self, path: Path) -> Path:  # noqa: D102
        return path

    def call(self, path: Path, endpoint: str, data: Sequence[bytes]) -> np.ndarray:
        """What another endpoint of the SavedModel at `path` gives for strings: float32 (B, K)."""
        tf = need("tensorflow", "")
        with opening(path, self.title):
            check_operations(path / _GRAPH)
            loaded = tf.saved_model.load(path)
            (result,) = loaded.signatures[endpoint](tf.constant(data)).values()
            return np.asarray(result)


class _Signature(Runtime):
    def __init__(self, path: Path, chunk: int, loaded: Any, metadata: Mapping[str, str]) -> None:
        if "serving_default" not in loaded.signatures:
            raise ModelError(f"{path} has no signature serving_default")
        function = loaded.signatures["serving_default"]
        inputs, outputs = function.structured_input_signature[1], function.structured_outputs
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs; a classifier has one of each")
        ((self._input, given),) = inputs.items()
        ((self._output, gives),) = outputs.items()
        super().__init__(path, chunk, given.shape, given.dtype.as_numpy_dtype, gives.shape, metadata)
        self._function, self._loaded = function, loaded  # the function holds its variables only weakly

    def _run(self, chunks: Iterator[Chunk], out: np.ndarray) -> None:
        for at, images in chunks:
            result = self._function(**{self._input: images})[self._output]
            out[at : at + self.chunk] = np.asarray(result)[: len(out) - at]


def _extra_files(path: Path) -> dict[str, str]:
    folder = path / EXTRA
    if not folder.is_dir():
        return {}
    small = [file for file in folder.iterdir() if file.is_file() and file.stat().st_size <= _MOST_METADATA]
    return {file.name: file.read_text(encoding="utf-8", errors="replace") for file in small}
