"""ONNX models: one .onnx file, for ONNX Runtime in Python, C++, C#, Java and JavaScript, and for most other runtimes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from imgstream.errors import ModelError
from imgstream.runtimes.int8 import quantize_onnx
from imgstream.runtimes.packages import need
from imgstream.runtimes.runtime import Chunk, Format, Precision, Runtime, converting, opening, signature_of

_TYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}


class Onnx(Format):
    """A protocol buffer, with what is written beside the model as its metadata properties."""

    name, title, ending, extra = "onnx", "ONNX", ".onnx", "onnx"
    modules = ("onnx", "tf2onnx", "onnxruntime")
    runs_on = ("onnxruntime",)

    def write(  # noqa: D102
        self, model: Any, path: Path, precision: Precision, images: np.ndarray | None = None, in_float: Collection[int] = ()
    ) -> None:
        onnx = need("onnx", self.extra)
        need("tf2onnx", self.extra)
        with converting(self.title):
            model.export(path, format="onnx", verbose=False, input_signature=signature_of(model))
            graph = onnx.load(path)
            _rename(graph.graph, model.output_names[0])
            if precision == "float16":
                half = need("onnxruntime.transformers.float16", self.extra)
                graph = half.convert_float_to_float16(graph, keep_io_types=True)
                need("onnxruntime.transformers.onnx_model", self.extra).OnnxModel.graph_topological_sort(graph.graph)  # casts come last
            graph.producer_name = "imgstream"
            onnx.checker.check_model(graph)
            onnx.save(graph, path)
            if precision == "int8":
                assert images is not None
                quantize_onnx(path, images, in_float)

    def describe(self, path: Path, metadata: Mapping[str, str]) -> None:  # noqa: D102
        onnx = need("onnx", self.extra)
        graph = onnx.load(path)
        onnx.helper.set_model_props(graph, {name: text.encode("utf-8", "backslashreplace").decode() for name, text in metadata.items()})
        onnx.save(graph, path)

    def open(self, path: Path, chunk: int = 1, threads: int = 1) -> Runtime:  # noqa: D102
        runtime = need("onnxruntime", self.extra)
        with opening(path, self.title):
            how = runtime.SessionOptions()
            how.intra_op_num_threads = threads
            how.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave the processor to the decoders
            how.log_severity_level = 4  # its errors are raised too
            return _Session(path, chunk, runtime.InferenceSession(str(path), how, providers=["CPUExecutionProvider"]))


class _Session(Runtime):
    def __init__(self, path: Path, chunk: int, session: Any) -> None:
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs; a classifier has one of each")
        if inputs[0].type not in _TYPES or outputs[0].type != "tensor(float)":
            raise ModelError(f"{path} takes a {inputs[0].type} and gives a {outputs[0].type}; images are uint8 or float, results float")
        super().__init__(
            path, chunk, inputs[0].shape, _TYPES[inputs[0].type], outputs[0].shape, session.get_modelmeta().custom_metadata_map
        )
        self._session, self._input = session, inputs[0].name

    def _run(self, chunks: Iterator[Chunk], out: np.ndarray) -> None:
        for at, images in chunks:
            (result,) = self._session.run(None, {self._input: images})
            out[at : at + self.chunk] = result[: len(out) - at]


def _rename(graph: Any, output: str) -> None:
    """Give the output a name that says what it is, and the size of the batch one too: the converter numbers both."""
    old = graph.output[0].name
    for node in graph.node:
        node.output[:] = [output if name == old else name for name in node.output]
        node.input[:] = [output if name == old else name for name in node.input]
    graph.output[0].name = output
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del graph.value_info[:]  # whose batches have the old name
