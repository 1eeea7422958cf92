"""What is in the images: classes, kinds, sizes, faults, and how they look."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from imgstream.check import Findings
from imgstream.check.clusters import Clusters
from imgstream.decode.depth import depth_of
from imgstream.errors import AugmentError, BadImage
from imgstream.evaluation.drift import Profile
from imgstream.index import ImageIndex
from imgstream.report.charts.figure import chart
from imgstream.report.charts.quality import draw_histogram
from imgstream.report.charts.svg import inline_svg
from imgstream.report.thumbnails import address, jpeg
from imgstream.report.tiles import Tile, plain_tiles
from imgstream.spec import SampleSpec
from imgstream.stream import Stream

_MOST_BARS = 40
_SHEETS, _ON_SHEET = 24, 9
_SIDE = 104
_GROUPS, _IN_GROUP = 8, 6
_EXAMPLES = 5
_DRAWS, _AUGMENTED = 8, 3


def classes(index: ImageIndex, parts: Mapping[str, ImageIndex]) -> dict[str, Any]:
    """Numbers of images by class, and how many of each are in the `parts` of a split."""
    counts = index.class_counts()
    of_parts = {name: dict(zip(part.class_names, part.class_counts().tolist(), strict=True)) for name, part in parts.items()}
    order = np.argsort(-counts, kind="stable") if len(counts) > _MOST_BARS else np.arange(len(counts))
    names, most = index.class_names, max(1, int(counts.max(initial=0)))
    return {
        "images": len(index),
        "unlabelled": index.unlabelled_count(),
        "classes": len(counts),
        "parts": list(of_parts),
        "bars": [
            (names[k], int(counts[k]), counts[k] / most, [found.get(names[k], 0) for found in of_parts.values()])
            for k in order[:_MOST_BARS].tolist()
        ],
        "rest": (len(counts) - _MOST_BARS, int(counts[order[_MOST_BARS:]].sum())) if len(counts) > _MOST_BARS else None,
        "largest": int(counts.max(initial=0)),
        "smallest": int(counts.min()) if len(counts) else 0,
    }


def faults(findings: Findings, workers: int | None) -> dict[str, Any]:
    """What `check` found, with the images that belong together side by side."""
    reasons = findings.facts.reasons()
    examples: dict[str, list[tuple[str, str]]] = {}
    for path, bad in findings.bad_files():
        shown = examples.setdefault(bad.reason, [])
        if len(shown) < _EXAMPLES:
            shown.append((path, bad.detail))
        elif all(len(examples.get(reason, ())) >= min(count, _EXAMPLES) for reason, count in reasons.items()):
            break
    good = findings.facts.records[findings.facts.good]
    return {
        "kinds": findings.facts.kinds(),
        "sizes": findings.sizes(),
        "bytes": int(findings.facts.records["size"].sum()),
        "bad": findings.bad,
        "reasons": [(reason, count, examples.get(reason, [])) for reason, count in reasons.items()],
        "extreme": len(findings.extreme),
        "decoded": findings.decoded,
        "split_by": findings.split_by,
        "look_alikes": findings.look_alikes,
        "other_files": findings.index.skipped_extensions,
        "groups": [
            {"title": title, "said": said, "clusters": len(numbers), "files": files, "shown": shown}
            for title, said, numbers, files, shown in _grouped(findings, workers)
        ],
        "figures": _size_figures(good) if len(good) > 1 else [],
    }


def _grouped(findings: Findings, workers: int | None) -> list[tuple[str, str, list[int], int, list[list[Tile]]]]:
    asked: list[tuple[str, str, Clusters, list[int]]] = [
        (
            "Copies with different labels",
            "The same image under several labels: one of them is wrong.",
            findings.alike,
            findings.conflicts.tolist(),
        ),
        (
            "Copies across the split",
            "The same image on both sides: what is measured on it, the model has learnt by heart. "
            "imgstream check --groups and train --group keep them together.",
            findings.alike,
            findings.across.tolist(),
        ),
        ("Copies", "Files of equal contents.", findings.exact, list(range(len(findings.exact)))),
    ]
    chosen = [(title, said, clusters, numbers) for title, said, clusters, numbers in asked if numbers]
    first = {
        title: [clusters[n][:_IN_GROUP].tolist() for n in itertools.islice(numbers, _GROUPS)] for title, _, clusters, numbers in chosen
    }
    wanted = [row for groups in first.values() for rows in groups for row in rows]
    spec = SampleSpec(size=(_SIDE, _SIDE), fit="pad", levels=findings.depth.levels)
    tiles = plain_tiles(findings.index, wanted, spec, side=_SIDE, workers=workers)
    return [
        (title, said, numbers, sum(len(clusters[n]) for n in numbers), [[tiles[row] for row in rows] for rows in first[title]])
        for title, said, clusters, numbers in chosen
    ]


def _size_figures(good: np.ndarray) -> list[tuple[str, Any]]:
    width, height = good["width"].astype(np.float64), good["height"].astype(np.float64)
    sides, aspects = np.log2(np.sqrt(width * height)), np.log2(width / height)
    low, high = np.floor(sides.min()), np.ceil(sides.max() + 1e-9)
    edges = np.linspace(low, max(high, low + 1), 25)
    shape = np.linspace(-2, 2, 25)
    drawn: tuple[tuple[str, str, np.ndarray, np.ndarray, str, Callable[[float], str]], ...] = (
        ("Sizes", "size", np.histogram(sides, edges)[0], edges, "side of a square of as many pixels", lambda v: f"{2**v:,.0f}"),
        ("Aspects", "aspect", np.histogram(np.clip(aspects, -2, 2), shape)[0], shape, "width : height", _ratio),
    )
    return [
        (
            title,
            inline_svg(chart(partial(draw_histogram, counts=c, edges=e, what=w, said=s), size=(4.0, 2.1)), name, f"{title} of the images."),
        )
        for title, name, c, e, w, s in drawn
    ]


def _ratio(log2: float) -> str:
    return f"{2**log2:.2g} : 1" if log2 >= 0 else f"1 : {2**-log2:.2g}"


def profile_rows(profile: Profile) -> list[tuple[str, str]]:
    """What a run's profile of its images says, in words."""
    rows = [("kinds", ", ".join(f"{kind} {100 * share:.0f} %" for kind, share in profile.kinds.items()))] if profile.kinds else []
    for name, figures, said in (
        ("pixels", profile.log2_pixels, lambda v: f"{2**v / 1e6:.2g} MP"),
        ("width : height", profile.log2_aspect, _ratio),
        ("brightness", profile.brightness, lambda v: f"{v:.2f}"),
    ):
        if figures.n:
            low, middle, high = (said(figures.quantiles[i]) for i in (0, 9, 18))
            rows.append((name, f"median {middle}; nine tenths from {low} to {high}"))
    return rows


def sheets(index: ImageIndex, workers: int | None) -> tuple[list[tuple[str | None, int, list[Tile]]], int]:
    """(class, images, some of them) of the largest classes, and how many classes are left out."""
    (places, labels), counts = index.classes_at(np.arange(len(index))), index.class_counts()
    there = np.flatnonzero(counts)
    named = there if len(there) <= _SHEETS else np.sort(there[np.argsort(-counts[there], kind="stable")[:_SHEETS]])
    chosen: list[tuple[int, np.ndarray]] = [(int(k), _spread(places[labels == k])) for k in named]
    if unlabelled := index.unlabelled_count():
        chosen.append((-1, _spread(np.flatnonzero(index.labels < 0))))
    spec = SampleSpec(size=(_SIDE, _SIDE), levels=depth_of(index).levels)
    tiles = plain_tiles(index, [row for _, rows in chosen for row in rows.tolist()], spec, side=_SIDE, workers=workers)
    return [
        (
            index.class_names[k] if k >= 0 else None,
            int(counts[k]) if k >= 0 else unlabelled,
            [tiles[i] for i in rows.tolist()],
        )
        for k, rows in chosen
    ], len(there) - len(named)


def _spread(rows: np.ndarray) -> np.ndarray:
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(_ON_SHEET, len(rows))).astype(np.int64))]


def augmentation(index: ImageIndex, spec: SampleSpec, augment: Any, workers: int | None) -> list[tuple[str, list[str]]]:
    """For a few images: the data: address of the image as it is, and of what the augmentation makes of it. [] where it cannot be used."""
    height, width = spec.size
    size = (max(1, round(_SIDE * height / max(spec.size))), max(1, round(_SIDE * width / max(spec.size))))
    some = index.take(_spread(np.arange(len(index)))[: 2 * _AUGMENTED] if len(index) else [])
    plain = Stream(
        some, dataclasses.replace(spec, size=size, scale="raw", channels=3), batch_size=2 * _AUGMENTED, workers=workers, dtype="uint8"
    )
    try:
        drawn = [plain, *(plain.replace(augment=augment) for _ in range(_DRAWS))]
        found: dict[int, list[str]] = {}
        for epoch, stream in enumerate(drawn):
            for batch in stream.traced_batches(epoch=epoch):
                for position, image in zip(batch.positions.tolist(), batch.images, strict=True):
                    found.setdefault(position, []).append(address(jpeg(image), "jpeg"))
    except (AugmentError, BadImage):
        return []
    return [(some.relative_bytes(at).decode("utf-8", "replace"), each) for at, each in sorted(found.items()) if len(each) > 1][:_AUGMENTED]
