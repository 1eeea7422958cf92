"""The map: the features of the model's last layer, in two dimensions."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

from imgstream.prediction.rows import shown
from imgstream.report.measure import Measurement
from imgstream.report.statistics import principal_plane
from imgstream.report.thumbnails import address

_SCALE = 65_535
_MARGIN = 0.02
_PICTURE = (8.0, 5.0)


def projection(measured: Measurement) -> dict[str, Any] | None:
    """The section's values; None where there are no features, or fewer than three images."""
    if len(measured.feature_rows) < 3 or not measured.features.shape[1]:
        return None
    at = measured.feature_rows
    rows, plane = measured.rows[at], principal_plane(measured.features)
    low, high = np.quantile(plane, [0.001, 0.999], axis=0)
    placed = np.clip((plane - low) / np.maximum(high - low, 1e-12), 0, 1) * (1 - 2 * _MARGIN) + _MARGIN
    colours = np.where(rows["label"] >= 0, rows["label"], rows["predicted"])
    wrong = (rows["label"] >= 0) & (rows["label"] != rows["predicted"])
    return {
        "n": len(at),
        "of": measured.seen,
        "thumbnails": len(measured.thumbnails),
        "picture": _picture(placed, colours, wrong),
        "data": {
            "xy": _packed(np.round(placed * _SCALE).astype("<u2")),
            "label": _packed(rows["label"].astype("<i4")),
            "predicted": _packed(rows["predicted"].astype("<i4")),
            "score": _packed(rows["score"].astype("<f4")),
            "classes": measured.class_names,
            "paths": [shown(measured.index.relative_bytes(position)) for position in at.tolist()],
            "thumbnails": [address(each, "jpeg") for each in measured.thumbnails],
        },
    }


def _packed(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


def _picture(placed: np.ndarray, colours: np.ndarray, wrong: np.ndarray) -> str:
    """The map as a picture, for who reads the page on paper or without scripts."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_PICTURE)
    figure.patch.set_alpha(0)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    tinted = np.array(PALETTE)[colours % len(PALETTE)]
    for chosen, how in ((~wrong, {"s": 9.0}), (wrong, {"s": 26.0, "marker": "X"})):
        axes.scatter(placed[chosen, 0], placed[chosen, 1], c=tinted[chosen], linewidths=0, **how)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return address(file.getvalue(), "png")


PALETTE = ("#2f7f8f", "#d1783c", "#7a68b3", "#5c9448", "#c75d7c", "#a8892c", "#4573b8", "#8c6d5a", "#3f9c83", "#b35ab0")
"""Ten colours that can be told apart on white and on black; further classes repeat them."""
