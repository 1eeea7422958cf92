"""imgstream: image classification on large folders, in memory that does not grow with them.

scan        folder → ImageIndex            paths and labels, memory-mapped; no pixels
split       ImageIndex → train, val        by a hash of each path: a new file never moves an old one
order       (seed, epoch) → row numbers    an exact permutation, computed, never stored
decode      file → uint8 (H, W, C)         header, box, reduction, EXIF, crop, resize, as the SampleSpec says
augment     uint8 → uint8                  keyed by (seed, epoch, row), whatever the number of threads
Stream      rows → float32 (B, H, W, C)    a few batches in memory, in recycled buffers
train       Stream → run folder            model, spec, class names, golden samples
predict     run folder, files → rows       one for each file; a bad file's row says why it is bad
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from imgstream import display

os.environ.setdefault(
    "NO_ALBUMENTATIONS_UPDATE", "1"
)  # albumentations reads it when imported; without it, it would look for updates online

if TYPE_CHECKING:
    __version__: str
    """The version of the installed package, from pyproject.toml."""
    from imgstream.directory_dataset import image_dataset_from_directory
    from imgstream.errors import BadImage, ImgstreamError
    from imgstream.index import ImageIndex, scan
    from imgstream.prediction.rows import Prediction
    from imgstream.runs import Run, load_run
    from imgstream.spec import SampleSpec
    from imgstream.stream import Stream
    from imgstream.training.train import train  # not from the package, where mypy would take the module of that name

_MODULES = {
    "BadImage": "errors",
    "ImgstreamError": "errors",
    "ImageIndex": "index",
    "image_dataset_from_directory": "directory_dataset",
    "scan": "index",
    "SampleSpec": "spec",
    "Stream": "stream",
    "train": "training",
    "Run": "runs",
    "load_run": "runs",
    "Prediction": "prediction.rows",
}
__all__ = [
    "BadImage",
    "ImageIndex",
    "ImgstreamError",
    "Prediction",
    "Run",
    "SampleSpec",
    "Stream",
    "__version__",
    "image_dataset_from_directory",
    "load_run",
    "scan",
    "train",
]

display.draw_with(lambda: importlib.import_module("imgstream.report.showing"))


def __getattr__(name: str) -> Any:
    """Import a name's module when it is first used: `import imgstream` itself takes milliseconds."""
    if name == "__version__":
        value = importlib.import_module("imgstream.versions").versions("imgstream").get("imgstream", "(not installed)")
    elif name in _MODULES:
        value = getattr(importlib.import_module(f"imgstream.{_MODULES[name]}"), name)
    else:
        raise AttributeError(f"module 'imgstream' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
