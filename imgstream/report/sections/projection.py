"""The map: the features of the model's last layer, in two dimensions."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

from imgstream.prediction.rows import shown
from imgstream.report.charts.quality import draw_map
from imgstream.report.measure import Measurement
from imgstream.report.plane import Projection, plane_of
from imgstream.report.thumbnails import address

_SCALE = 65_535
_MARGIN = 0.02
_PICTURE = (8.0, 5.0)


def projection(measured: Measurement, by: Projection, trained_on: np.ndarray | None = None) -> dict[str, Any] | None:
    """The section's values; None where there are no features, or fewer than three images. `trained_on`: positions of images that the
    model was trained on, int64 (m,).
    """
    if len(measured.feature_rows) < 3 or not measured.features.shape[1]:
        return None
    plane = plane_of(measured.features, by)
    at = measured.feature_rows[: len(plane)]
    rows = measured.rows[at]
    low, high = np.quantile(plane, [0.001, 0.999], axis=0)
    placed = np.clip((plane - low) / np.maximum(high - low, 1e-12), 0, 1) * (1 - 2 * _MARGIN) + _MARGIN
    colours, wrong = colours_of(rows)
    learnt = np.zeros(len(at), bool) if trained_on is None else np.isin(at, trained_on)
    return {
        "n": len(at),
        "by": by,
        "of": measured.seen,
        "thumbnails": len(measured.thumbnails),
        "picture": _picture(placed, colours, wrong),
        "data": {
            "xy": _packed(np.round(placed * _SCALE).astype("<u2")),
            "label": _packed(rows["label"].astype("<i4")),
            "predicted": _packed(rows["predicted"].astype("<i4")),
            "trained": _packed(learnt.astype("u1")) if learnt.any() else None,
            "score": _packed(rows["score"].astype("<f4")),
            "classes": measured.class_names,
            "paths": [shown(measured.index.relative_bytes(position)) for position in at.tolist()],
            "thumbnails": [address(each, "jpeg") for each in measured.thumbnails],
        },
    }


def colours_of(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For ROW (m,): the class that a point is coloured by, its label or else its prediction, and whether that is wrong: (m,) each."""
    labelled = rows["label"] >= 0
    return np.where(labelled, rows["label"], rows["predicted"]), labelled & (rows["label"] != rows["predicted"])


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
    draw_map(axes, placed, colours, wrong)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return address(file.getvalue(), "png")
