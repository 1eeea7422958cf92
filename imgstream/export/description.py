"""What an exported model says of itself: as JSON inside its file, and beside it in imgstream.json, with labels.txt for other programs."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np

from imgstream.errors import ModelError, OutputError, SpecError
from imgstream.files.atomic import write_json, write_text
from imgstream.runtimes import Precision
from imgstream.spec import SampleSpec

FORMAT_VERSION = 1
DESCRIPTION, LABELS = "imgstream.json", "labels.txt"
"""Names of what lies inside and beside a model. In imgstream.json beside it, `models` has what is not the same for all models there."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Description:
    """An exported model's own account."""

    run: str
    """The fingerprint of the run that it was made from."""
    class_names: list[str]
    spec: SampleSpec
    temperature: float
    """By which its logits are divided, or if `raw`, are to be divided."""
    format: str
    precision: str
    raw: bool
    """Whether it takes float32 by the spec's scale and gives logits; else it takes uint8 and gives probabilities."""
    patterns: list[list[float]]
    """What it gave for `drawn_patterns` when it was made, (2, K)."""
    versions: dict[str, str]
    report: dict[str, Any]
    """What was measured when it was made."""
    thresholds: list[float] | None = None
    """Where an image may have several labels: from which probability on it is taken for a class's. None for one label an image."""

    def to_json(self) -> dict[str, Any]:
        """The fields as values that JSON can hold."""
        fields = {"imgstream_export": FORMAT_VERSION, **dataclasses.asdict(self), "spec": self.spec.to_json()}
        return fields if self.thresholds is not None else {name: value for name, value in fields.items() if name != "thresholds"}

    def text(self) -> str:
        """As JSON."""
        return json.dumps(self.to_json(), ensure_ascii=False)

    @classmethod
    def parse(cls, text: str | None, path: Path) -> Description:
        """The description that `text` wrote. Raises ModelError, which names `path`, when it is none, damaged, or of another version."""
        if text is None:
            raise ModelError(f"{path} says nothing of its classes and samples: it is no model that imgstream export wrote")
        try:
            data = dict(json.loads(text))
            if (version := data.pop("imgstream_export", None)) != FORMAT_VERSION:
                raise ModelError(
                    f"{path} has the export format {version!r}; this imgstream reads format {FORMAT_VERSION}. Export its run again"
                )
            found = cls(**{**data, "spec": SampleSpec.from_json(data["spec"])})
            names, patterns = found.class_names, np.asarray(found.patterns, np.float32)
            if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
                raise ValueError("no class names")
            if found.precision not in get_args(Precision):
                raise ValueError("an unknown precision")
            if found.thresholds is not None and len(found.thresholds) != len(names):
                raise ValueError("not a threshold for each class")
            if patterns.shape != (2, len(names)) or not 0 < found.temperature < math.inf or not isinstance(found.raw, bool):
                raise ValueError("impossible values")
        except (ValueError, TypeError, KeyError, RecursionError, SpecError) as error:
            raise ModelError(f"{path}: what it says of itself cannot be read ({str(error)[:200]}). Export its run again") from error
        return found


def drawn_patterns(spec: SampleSpec, raw: bool) -> np.ndarray:
    """Two images as the model takes them, (2, *spec.shape): uint8, or if `raw`, float32. Of whole numbers alone: the same everywhere."""
    height, width, channels = spec.shape
    y, x, c = np.ogrid[:height, :width, :channels]
    waves = [(3 * y + 5 * x * (c + 1)) % 256, (y * y // 16 + x * x // 24 + 85 * c) % 256]
    pixels = np.stack([np.broadcast_to(wave, spec.shape) for wave in waves]).astype(np.uint8)
    if not raw:
        return pixels
    samples = np.empty(pixels.shape, np.float32)
    spec.to_float(pixels, samples)
    return samples


def check_beside(folder: Path, model: str, description: Description) -> None:
    """Raise OutputError where the files in `folder` belong to models of another run: they would be wrong for a `model` there."""
    beside = _read(folder / DESCRIPTION)
    if beside is None:
        if (there := next((folder / name for name in (LABELS, DESCRIPTION) if (folder / name).exists()), None)) is not None:
            raise OutputError(f"{there} is there already, and not by imgstream. Choose another folder for the model")
        return
    others = [name for name in beside["models"] if name != model and (folder / name).exists()]
    if others and any(beside.get(name) != description.to_json()[name] for name in ("run", "class_names", "spec", "temperature")):
        raise OutputError(f"{folder} holds {others[0]}, a model of another run, with its {LABELS}. Choose another folder")


def write_beside(folder: Path, model: str, description: Description, digests: dict[str, str]) -> None:
    """Write labels.txt and imgstream.json into `folder` for its `model`, whose files have these SHA-256 by name. Raises OutputError."""
    common = description.to_json()
    own = {name: common.pop(name) for name in ("format", "precision", "raw", "patterns", "report")}
    models = (_read(folder / DESCRIPTION) or {}).get("models", {})
    kept = {name: of for name, of in models.items() if (folder / name).exists()}
    write_text(folder / LABELS, labels_text(description.class_names))
    write_json(folder / DESCRIPTION, {**common, "models": {**kept, model: {**own, "files": digests}}})


def digests_beside(folder: Path, model: str) -> dict[str, str] | None:
    """The SHA-256 of the files of `model`, by name, as they were when it was exported; None where nothing in `folder` says so."""
    files = ((_read(folder / DESCRIPTION) or {}).get("models", {}).get(model) or {}).get("files")
    return files if isinstance(files, dict) else None


def labels_text(class_names: list[str]) -> str:
    r"""One class a line, in the order of the outputs; line ends inside a name show as \n."""
    return "".join(re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]", lambda found: repr(found[0])[1:-1], name) + "\n" for name in class_names)


def _read(path: Path) -> dict[str, Any] | None:
    """imgstream.json, if it is one that `write_beside` wrote."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or not isinstance(data.get("models"), dict):
        return None
    return data if all(isinstance(of, dict) for of in data["models"].values()) else None
