"""Models whose weights and intermediate results are whole numbers of 8 bits: each format by the tool of its own makers, with one scale for
each output channel of a weight. Ranges are taken from images; what the tools cannot do in whole numbers stays in float32.
"""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from imgstream.runtimes.packages import need

BATCH = 8
"""Images at a time."""
PARTS = 8
"""Equal parts of a model's operations, from input to output, each of which may stay in float32."""
_NO_OPERATIONS = ("Constant", "Parameter", "Result")


def litert_options(images: np.ndarray) -> dict[str, Any]:
    """Keywords of the LiteRT converter. `images`: as the model takes them, (n, H, W, C)."""
    import tensorflow as tf

    def dataset() -> Iterator[list[np.ndarray]]:
        for at in range(len(images)):
            yield [images[at : at + 1]]

    return {"optimizations": [tf.lite.Optimize.DEFAULT], "representative_dataset": dataset}


def partly_quantized_litert(model: Any, saved: Path, images: np.ndarray, in_float: Collection[int]) -> bytes:
    """A LiteRT model of which parts stay in float32. `saved`: where a SavedModel may lie meanwhile.

    TensorFlow's debugger of quantization is what can leave operations out; it names them by the tensors that it compares.
    """
    import tensorflow as tf

    options = litert_options(images)
    try:
        model.export(saved, format="tf_saved_model", verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
        for name, value in options.items():
            setattr(converter, name, value)

        def one() -> Iterator[list[np.ndarray]]:
            yield [images[:1]]

        with _quiet():
            debugger = tf.lite.experimental.QuantizationDebugger(converter=converter, debug_dataset=one)
            debugger.run()
            told = io.StringIO()
            debugger.layer_statistics_dump(told)
            told.seek(0)
            names = [row["tensor_name"] for row in csv.DictReader(told)]
            debugger.options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=_of_parts(names, in_float))
            return bytes(debugger.get_nondebug_quantized_model())
    finally:
        shutil.rmtree(saved, ignore_errors=True)


def quantize_onnx(path: Path, images: np.ndarray, in_float: Collection[int] = ()) -> None:
    """Replace the float32 model at `path`."""
    quantization = need("onnxruntime.quantization", "onnx")
    prepare = need("onnxruntime.quantization.shape_inference", "onnx").quant_pre_process
    name = need("onnx", "onnx").load(path).graph.input[0].name
    batches = iter([{name: images[at : at + BATCH]} for at in range(0, len(images), BATCH)])

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(batches, None)

    prepared = path.with_name("prepared.onnx")
    with _quiet():
        prepare(str(path), str(prepared), skip_symbolic_shape=True)
        how = {"per_channel": True, "weight_type": quantization.QuantType.QInt8, "activation_type": quantization.QuantType.QUInt8}
        names = [node.name for node in need("onnx", "onnx").load(prepared).graph.node if node.name]
        how["nodes_to_exclude"] = _of_parts(names, in_float)
        quantization.quantize_static(str(prepared), str(path), Reader(), quant_format=quantization.QuantFormat.QDQ, **how)
    prepared.unlink()


def quantized_openvino(graph: Any, images: np.ndarray, in_float: Collection[int] = ()) -> Any:
    """The graph of an OpenVINO model with 8-bit operations in it."""
    nncf = need("nncf", "export")
    batches = [images[at : at + BATCH] for at in range(0, len(images), BATCH)]
    names = [each.get_friendly_name() for each in graph.get_ordered_ops() if each.get_type_name() not in _NO_OPERATIONS]
    how = {"subset_size": len(batches), "preset": nncf.QuantizationPreset.MIXED}
    if in_float:
        how["ignored_scope"] = nncf.IgnoredScope(names=_of_parts(names, in_float), validate=False)
    with _quiet():
        return nncf.quantize(graph, nncf.Dataset(batches), **how)


def _of_parts(names: list[str], parts: Collection[int]) -> list[str]:
    """Those of `names`, which stand in the order of computing, that are in these of the PARTS."""
    return [name for at, name in enumerate(names) if at * PARTS // len(names) in parts]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what the tools print and log."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)
