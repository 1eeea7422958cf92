"""Models whose weights and intermediate results are whole numbers of 8 bits: each format by the tool of its own makers, with one scale for
each output channel of a weight. Ranges are taken from images; what the tools cannot do in whole numbers stays in float32.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from imgstream.runtimes.packages import need

BATCH = 8
"""Images at a time."""


def litert_options(images: np.ndarray) -> dict[str, Any]:
    """Keywords of the LiteRT converter. `images`: as the model takes them, (n, H, W, C)."""
    import tensorflow as tf

    def dataset() -> Iterator[list[np.ndarray]]:
        for at in range(len(images)):
            yield [images[at : at + 1]]

    return {"optimizations": [tf.lite.Optimize.DEFAULT], "representative_dataset": dataset}


def quantize_onnx(path: Path, images: np.ndarray) -> None:
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
        quantization.quantize_static(str(prepared), str(path), Reader(), quant_format=quantization.QuantFormat.QDQ, **how)
    prepared.unlink()


def quantized_openvino(graph: Any, images: np.ndarray) -> Any:
    """The graph of an OpenVINO model with 8-bit operations in it."""
    nncf = need("nncf", "export")
    batches = [images[at : at + BATCH] for at in range(0, len(images), BATCH)]
    with _quiet():
        return nncf.quantize(graph, nncf.Dataset(batches), subset_size=len(batches), preset=nncf.QuantizationPreset.MIXED)


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
