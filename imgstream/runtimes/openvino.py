"""OpenVINO models: an .xml file and the .bin file of its weights, for processors, graphics and NPUs of Intel, and ARM."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from imgstream.errors import ModelError
from imgstream.runtimes.int8 import quantized_openvino
from imgstream.runtimes.packages import need
from imgstream.runtimes.runtime import Chunk, Format, Precision, Runtime, converting, opening

_KEY = "imgstream"
"""Where what is written beside the model lies in its rt_info."""


class OpenVino(Format):
    """OpenVINO's IR."""

    name, title, ending, extra = "openvino", "OpenVINO", ".xml", "openvino"
    modules = runs_on = ("openvino",)

    def write(  # noqa: D102
        self, model: Any, path: Path, precision: Precision, images: np.ndarray | None = None, in_float: Collection[int] = ()
    ) -> None:
        openvino = need("openvino", self.extra)
        with converting(self.title):
            saved = path.with_name(path.name + ".saved")
            try:
                model.export(saved, format="tf_saved_model", verbose=False)
                graph = openvino.Core().read_model(saved)  # not convert_model, which reports to its makers
            finally:
                shutil.rmtree(saved, ignore_errors=True)
            graph.inputs[0].tensor.set_names({model.inputs[0].name})
            graph.outputs[0].tensor.set_names({model.output_names[0]})
            if precision == "int8":
                assert images is not None
                graph = quantized_openvino(graph, images, in_float)
            openvino.save_model(graph, path, compress_to_fp16=precision == "float16")

    def describe(self, path: Path, metadata: Mapping[str, str]) -> None:  # noqa: D102
        openvino = need("openvino", self.extra)
        graph = openvino.Core().read_model(path)
        for name, text in metadata.items():
            graph.set_rt_info(text.encode("utf-8", "backslashreplace").decode(), [_KEY, name])
        described = path.with_name("described.xml")  # the weights of `path` are mapped
        openvino.save_model(graph, described, compress_to_fp16=False)
        for new, old in zip(self.files(described), self.files(path), strict=True):
            new.replace(old)

    def open(self, path: Path, chunk: int = 1, threads: int = 1) -> Runtime:  # noqa: D102
        openvino = need("openvino", self.extra)
        with opening(path, self.title):
            core = openvino.Core()
            return _Compiled(path, chunk, threads, core, core.read_model(path))

    def files(self, path: Path) -> list[Path]:  # noqa: D102
        return [path, path.with_suffix(".bin")]


class _Compiled(Runtime):
    def __init__(self, path: Path, chunk: int, threads: int, core: Any, graph: Any) -> None:
        if len(graph.inputs) != 1 or len(graph.outputs) != 1:
            raise ModelError(f"{path} has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; a classifier has one of each")
        sizes = [
            tuple(n.get_length() if n.is_static else None for n in end.get_partial_shape()) for end in (graph.inputs[0], graph.outputs[0])
        ]
        super().__init__(path, chunk, sizes[0], graph.inputs[0].get_element_type().to_dtype(), sizes[1], _rt_info(graph))
        graph.reshape([chunk, *self.shape])
        how = {
            "INFERENCE_PRECISION_HINT": "f32",  # some processors would compute in bfloat16, unasked
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY" if chunk == 1 else "THROUGHPUT",
        }
        self._queue = need("openvino", "openvino").AsyncInferQueue(core.compile_model(graph, "CPU", how))
        self._queue.set_callback(self._take)
        self._out = np.empty((0, self.class_count), np.float32)

    def _run(self, chunks: Iterator[Chunk], out: np.ndarray) -> None:
        self._out = out
        for at, images in chunks:
            self._queue.start_async([images], at)
        self._queue.wait_all()

    def _take(self, request: Any, at: int) -> None:
        self._out[at : at + self.chunk] = request.get_output_tensor(0).data[: len(self._out) - at]


def _rt_info(graph: Any) -> dict[str, str]:
    if not graph.has_rt_info([_KEY]):
        return {}
    return {name: str(value) for name, value in graph.get_rt_info([_KEY]).value.items()}
