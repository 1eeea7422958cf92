"""LiteRT (TensorFlow Lite) models: one .tflite file, for phones, small boards and servers."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from imgstream.errors import ModelError
from imgstream.runtimes.int8 import litert_options, partly_quantized_litert
from imgstream.runtimes.packages import need
from imgstream.runtimes.runtime import Chunk, Format, Precision, Runtime, converting, opening

_MOST_METADATA = 16 << 20  # bytes


class LiteRT(Format):
    """A flat buffer. What is written beside the model is a ZIP archive at its end, where LiteRT's own tools keep such files too."""

    name, title, ending, extra = "litert", "LiteRT", ".tflite", "litert"
    modules = runs_on = ("ai_edge_litert",)

    def write(  # noqa: D102
        self, model: Any, path: Path, precision: Precision, images: np.ndarray | None = None, in_float: Collection[int] = ()
    ) -> None:
        with converting(self.title):
            how: dict[str, Any] = {}
            if precision == "float16":
                import tensorflow as tf

                how = {"optimizations": [tf.lite.Optimize.DEFAULT], "target_spec": {"supported_types": [tf.float16]}}
            elif precision == "int8":
                assert images is not None
                if in_float:
                    path.write_bytes(partly_quantized_litert(model, path.with_name(path.name + ".saved"), images, in_float))
                    return
                how = litert_options(images)
            model.export(path, format="litert", verbose=False, **how)

    def describe(self, path: Path, metadata: Mapping[str, str]) -> None:  # noqa: D102
        with zipfile.ZipFile(path, "a") as archive:
            for name, text in metadata.items():
                archive.writestr(name, text.encode("utf-8", "backslashreplace"))

    def open(self, path: Path, chunk: int = 1, threads: int = 1) -> Runtime:  # noqa: D102
        interpreters = need("ai_edge_litert.interpreter", self.extra)
        with opening(path, self.title):
            interpreter = interpreters.Interpreter(str(path), num_threads=threads)
            return _Interpreted(path, chunk, interpreter, _archived(path))


class _Interpreted(Runtime):
    def __init__(self, path: Path, chunk: int, interpreter: Any, metadata: Mapping[str, str]) -> None:
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs; a classifier has one of each")
        shape, result = (tuple(int(n) for n in each[0]["shape"]) for each in (inputs, outputs))
        super().__init__(path, chunk, shape, inputs[0]["dtype"], result, metadata)
        self._interpreter, self._input, self._output = interpreter, inputs[0]["index"], outputs[0]["index"]
        interpreter.resize_tensor_input(self._input, [chunk, *self.shape])
        interpreter.allocate_tensors()

    def _run(self, chunks: Iterator[Chunk], out: np.ndarray) -> None:
        for at, images in chunks:
            self._interpreter.set_tensor(self._input, images)
            self._interpreter.invoke()
            out[at : at + self.chunk] = self._interpreter.get_tensor(self._output)[: len(out) - at]


def _archived(path: Path) -> dict[str, str]:
    """The files of the archive at the end of a model; none where there is no archive."""
    if not zipfile.is_zipfile(path):
        return {}
    with zipfile.ZipFile(path) as archive:
        small = [member for member in archive.infolist() if member.file_size <= _MOST_METADATA]
        return {member.filename: archive.read(member).decode("utf-8", "replace") for member in small}
