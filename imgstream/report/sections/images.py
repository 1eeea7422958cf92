"""Which images to look at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from imgstream.report.label_errors import likely_label_errors
from imgstream.report.measure import Measurement

SHOWN = 18
"""Images of each kind."""
_MOST_ERRORS = 48
_SPARE = 4 * SHOWN
"""Images of a kind from which those are taken that no earlier kind shows."""


class Kind(NamedTuple):
    """A kind of images that are worth a look."""

    id: str
    title: str
    said: str
    positions: list[int]
    total: int
    """How many there are, shown or not."""


def kinds(measured: Measurement, fine: frozenset[bytes] = frozenset()) -> list[Kind]:
    """The kinds that there are. `fine`: paths whose labels a person found to be right; they are no likely label errors."""
    at = measured.labelled
    rows = measured.rows[at]
    known = np.isfinite(rows["score"]) & np.isfinite(rows["label_score"])
    at, rows = at[known], rows[known]
    right = rows["label"] == rows["predicted"]
    errors = at[likely_label_errors(rows["label"], rows["predicted"], rows["score"], rows["label_score"])]
    if fine:
        errors = np.array([i for i in errors.tolist() if measured.index.relative_bytes(i) not in fine], np.int64)
    sure = float(np.median(rows["score"][right])) if right.any() else 0.0
    wrong = np.flatnonzero(~right & (rows["score"] >= sure))
    random = np.random.default_rng(0).permutation(np.flatnonzero(right))
    found = [
        Kind(
            "label-errors",
            "Likely label errors",
            "The model is as sure of another class as it is where that class is right: perhaps it is the label that is wrong.",
            errors[:_MOST_ERRORS].tolist(),
            len(errors),
        ),
        Kind(
            "losses",
            "Highest loss",
            "Images whose own label has the lowest score.",
            at[np.argsort(rows["label_score"], kind="stable")[:_SPARE]].tolist(),
            len(at),
        ),
        Kind(
            "sure-and-wrong",
            "Sure, and wrong",
            "Mistakes whose score is above the median of the right ones.",
            at[wrong[np.argsort(-rows["score"][wrong], kind="stable")[:_SPARE]]].tolist(),
            len(wrong),
        ),
        Kind(
            "least-sure",
            "Least sure",
            "Images whose best class has the lowest score: what --min-score would call unsure.",
            at[np.argsort(rows["score"], kind="stable")[:_SPARE]].tolist(),
            len(at),
        ),
        Kind(
            "random-right", "Right, at random", "So that the mistakes do not stand alone.", at[random[:_SPARE]].tolist(), int(right.sum())
        ),
    ]
    return _once(found)


def _once(kinds: list[Kind]) -> list[Kind]:
    """The kinds without what an earlier one shows."""
    seen: set[int] = set()
    rest = []
    for kind in kinds:
        positions = [at for at in kind.positions if at not in seen][: _MOST_ERRORS if kind.id == "label-errors" else SHOWN]
        seen.update(positions)
        rest.append(kind._replace(positions=positions))
    return [kind for kind in rest if kind.positions]
