"""The formats that models are exported to, each with its own runtime: how a Keras model becomes a file, and how that file is run.

runtime.py      what all formats share: Format, and Runtime, an opened file that is called with images
litert.py       LiteRT (TensorFlow Lite): .tflite
onnx.py         ONNX, run by ONNX Runtime: .onnx
openvino.py     OpenVINO: .xml and .bin
savedmodel.py   TensorFlow's SavedModel: a folder
saved_operations.py  the operations that such a folder may hold
int8.py         models in whole numbers of 8 bits
packages.py     imports what is installed with an extra, or says which
"""

from __future__ import annotations

from imgstream.runtimes.litert import LiteRT
from imgstream.runtimes.onnx import Onnx
from imgstream.runtimes.openvino import OpenVino
from imgstream.runtimes.runtime import Format, Precision, Runtime
from imgstream.runtimes.savedmodel import SavedModel

FORMATS: dict[str, Format] = {each.name: each for each in (SavedModel(), LiteRT(), Onnx(), OpenVino())}
"""Every format by the name that --format takes."""

__all__ = ["FORMATS", "Format", "Precision", "Runtime"]
