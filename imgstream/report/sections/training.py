"""How the run was trained, from the records in its folder."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from imgstream.report.charts.figure import chart
from imgstream.report.charts.svg import inline_svg
from imgstream.report.charts.training import draw_accuracy, draw_loss, draw_memory, draw_rate, draw_speed

_MOST_BYTES = 1 << 24
_ALWAYS = ("size", "fit", "augment", "weights", "epochs", "minutes", "seed")
_CHOSEN = ("model", "precision", "batch_size", "pipeline")
"""What run.json has as it was chosen in the end."""
_DEFAULTS: Mapping[str, Any] = {
    "channels": 3,
    "val_share": 0.2,
    "label_smoothing": 0.1,
    "precision": "auto",
    "checkpoint_every": "2min",
    "pipeline": "auto",
    "cache": "off",
    "cache_limit": 20_000_000_000,
    "max_bad": 0.05,
    "teacher_weight": 0.9,
    "teacher_temperature": 4.0,
    "augment_on": "cpu",
}
"""Of settings.json: what is left out of the page."""
_PHASES = {
    "starting": "listing images and building the model",
    "head": "a head on frozen features",
    "compiling": "compiling, with the first step of each size",
    "steps": "steps",
    "validating": "validating",
    "writing": "writing the run",
}
"""What run.json has of how long each part took."""


def history_of(folder: Path) -> list[dict[str, float]]:
    """The lines of history.csv as numbers; [] where there is none, or it is damaged."""
    return _numbers(folder / "history.csv")


def memory_of(folder: Path) -> list[tuple[float, float, float]]:
    """(seconds, allocated MB, MB of files) of memory.csv, in order; [] where there is none."""
    names = ("seconds", "anonymous_mb", "file_mb")
    return [(row[names[0]], row[names[1]], row[names[2]]) for row in _numbers(folder / "memory.csv") if set(names) <= row.keys()]


def _numbers(path: Path) -> list[dict[str, float]]:
    found = []
    with contextlib.suppress(OSError, csv.Error), path.open(encoding="utf-8", errors="replace", newline="") as file:
        for row in csv.DictReader(file.read(_MOST_BYTES).splitlines()):
            with contextlib.suppress(ValueError, TypeError):
                found.append({str(name): float(value) for name, value in row.items()})
    return found


def training(folder: Path, state: Mapping[str, Any]) -> dict[str, Any]:
    """The section's values, for the run in `folder` with run.json as `state`. What the run has no record of is left out."""
    history, memory = history_of(folder), memory_of(folder)
    settings = _settings(folder)
    ceiling = settings.get("memory")
    figures = []
    if len(history) > 1:
        last, measure = history[-1], "mAP" if "val_mAP" in history[-1] else "accuracy"
        best = max(row.get(f"val_{measure}", 0.0) for row in history)
        said = "Accuracy" if measure == "accuracy" else measure
        for title, draw, alt in (
            ("Loss", draw_loss, f"Loss by step; validation ends at {last.get('val_loss', float('nan')):.3f}."),
            (said, draw_accuracy, f"{said} by step; the best validation is {100 * best:.2f} %."),
            ("Learning rate", draw_rate, "The learning rate by step."),
            ("Speed", draw_speed, "Images trained on a second, by step."),
        ):
            figures.append((title, inline_svg(chart(partial(draw, history=history)), title.lower().replace(" ", "-"), alt)))
    if len(memory) > 1:
        peak = max(row[1] for row in memory)
        drawn = chart(lambda axes: draw_memory(axes, memory, None if not ceiling else ceiling / 1e6))
        figures.append(("Memory", inline_svg(drawn, "memory", f"Memory over time; the most allocated is {peak:,.0f} MB.")))
    return {
        "state": state,
        "history": history,
        "figures": figures,
        "peak": max((row[1] for row in memory), default=None),
        "settings": [
            (name, _said(value))
            for name, value in settings.items()
            if name != "format" and (name in _ALWAYS or (value not in (None, False, 0) and value != _DEFAULTS.get(name)))
            if value is not None and not (name in _CHOSEN and name in state)
        ],
        "chosen": [(name, str(state[name])) for name in _CHOSEN if state.get(name) is not None],
        "phases": _phases(state),
        "versions": state.get("versions", {}),
    }


def _phases(state: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """(part of the training, seconds, share of all), with what no part has as the last; [] for a run without a record of them."""
    phases, whole = state.get("phases"), state.get("seconds")
    if not isinstance(phases, dict) or not isinstance(whole, int | float) or whole <= 0:
        return []
    found = [(said, float(phases[name])) for name, said in _PHASES.items() if isinstance(phases.get(name), int | float)]
    rest = whole - sum(seconds for _, seconds in found)
    return [(said, seconds, seconds / whole) for said, seconds in [*found, ("all else", max(0.0, rest))] if seconds >= 0.05]


def _settings(folder: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        found = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("name") or value.get("kind") or json.dumps(value))
    if isinstance(value, list) and len(value) == 2:
        return f"{value[0]} × {value[1]}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
