"""A run's model as a file that other programs use, with what it needs to know inside; and that file in the place of a run.

serving.py         the model with its scaling before it and its temperature behind it
encoded_images.py  the sample of decode/sample.py in a SavedModel: encoded images in
calibration.py     the images that int8 is calibrated on, and what it loses
partly_int8.py     leaves parts of a model in float32 where int8 loses too much
logits.py          the logits of an exported model
description.py     what an exported model says of itself, inside and beside
export.py          writes an exported model, after it has been tried
engines.py         a run's model in another runtime, in the place of Keras
exported_model.py  ExportedModel: opened, it evaluates and predicts as a run does
"""

from __future__ import annotations

from imgstream.export.calibration import before_and_after
from imgstream.export.engines import ENGINES, ConvertedModel, EngineSelection, select_engine
from imgstream.export.export import Exported, export_run
from imgstream.export.exported_model import ExportedModel, is_exported, open_model

__all__ = [
    "ENGINES",
    "ConvertedModel",
    "EngineSelection",
    "Exported",
    "ExportedModel",
    "before_and_after",
    "export_run",
    "is_exported",
    "open_model",
    "select_engine",
]
