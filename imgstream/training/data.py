"""The data of a training: the rows that have a label, their split, and the spec of their samples."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from imgstream.errors import DatasetError
from imgstream.evaluation.drift import sample_headers
from imgstream.index import ImageIndex, Source, kind_of, open_index
from imgstream.index.opening import warn_of_look_alikes
from imgstream.index.split.groups import groups
from imgstream.index.split.validation import SplitReport
from imgstream.models import ModelInfo
from imgstream.runs.sides import sides
from imgstream.spec import SampleSpec
from imgstream.stream import Stream
from imgstream.training.settings import TrainSettings

ENLARGED = 2
"""How much images are enlarged at most to reach the model's preferred size: more is work without anything new to see."""
_LEAST_SIDE = 32
MOST_WEIGHT = 20.0
"""The most that an image of a rare class weighs in that class's decision: more would make the loss jump with each."""
_NAMED = 20
"""The most classes that an error names."""
_TELLING, _TOO_FEW = 40, 5  # by chance, a hash that is to choose 40 images or more never chooses less than a fifth of them


def sample_spec(settings: TrainSettings, info: ModelInfo, index: ImageIndex) -> SampleSpec:
    """The spec that a model wants, with the size and fit that were asked for.

    If no size was, it is the model's own; for new weights a smaller one, if the images of `index` are smaller than half of it.
    """
    channels = info.channels or settings.channels
    from_new = settings.weights == "none" and not info.is_saved and info.any_size
    return SampleSpec(
        size=settings.size if settings.size is not None else _not_much_larger(info.size, index) if from_new else info.size,
        fit=settings.fit,  # type: ignore[arg-type]  # SampleSpec checks it
        channels=channels,
        scale="signed" if channels == 1 and info.scale in ("imagenet", "caffe") else info.scale,
    )


def _not_much_larger(size: tuple[int, int], index: ImageIndex) -> tuple[int, int]:
    """`size`, or ENLARGED times the median shorter side of the images, in multiples of 8, if that is less."""
    sides = [min(header.width, header.height) for header in sample_headers(index)]
    if not sides:
        return size
    side = max(_LEAST_SIDE, 8 * round(ENLARGED * float(np.median(sides)) / 8))
    return size if side >= min(size) else (side, side)


def labelled(
    source: Source,
    settings: TrainSettings,
    scanned: Callable[[int], None] | None,
    notice: Callable[[str], None] | None,
) -> ImageIndex:
    """The rows that have a label. Raises DatasetError unless there are two classes or more, each with images."""
    index = open_index(
        source,
        settings.label_pattern,
        corrections=settings.corrections,
        exclude=settings.exclude,
        root=settings.root,
        columns=settings.columns,
        allow_outside=settings.allow_outside,
        multi_label=settings.multi_label,
        progress=scanned,
        notice=notice,
    )
    warn_of_look_alikes(index, source, settings.label_pattern, settings.columns)
    names = index.class_names
    if len(names) < 2:
        found = f"one class, {names[0]!r}" if names else "no classes"
        needed = "training needs two classes or more, and"
        if not index.root:
            raise DatasetError(f"{needed} the images given have {found}. Give a folder of class folders, or a manifest with their labels")
        if isinstance(source, str | bytes | os.PathLike) and kind_of(source) == "manifest":
            raise DatasetError(
                f"{needed} {os.fsdecode(source)} names {found}. Say which column holds the labels, such as --columns path=img,label=species"
            )
        raise DatasetError(
            f"{needed} {index.root} has {found if names else 'no class folders'}. Put each class's images in a folder of its own, such as "
            f"{os.path.join(index.root, 'cats')} and {os.path.join(index.root, 'dogs')}, or name the classes with --label-pattern"
        )
    counts = index.class_counts()
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    if empty:
        raise DatasetError(f"no images of {', '.join(map(repr, empty))} under {index.root}: remove the empty folder, or fill it")
    return index.with_labels() if index.unlabelled_count() else index


def split(index: ImageIndex, settings: TrainSettings) -> tuple[ImageIndex, ImageIndex, SplitReport]:
    """The training index, the validation index, and a report. Raises DatasetError when one of them lacks images, or they share some."""
    group = None if settings.group is None else groups(settings.group)
    if group is not None and not any(group.keys(index, at).any() for at in index.chunks()):
        raise DatasetError(
            f"--group {settings.group!r}: none of the {len(index):,} images belongs to a group, so it would keep nothing together"
        )
    train_index, val_index = sides(
        index,
        val=settings.val,
        val_share=settings.val_share,
        fold=settings.fold_numbers,
        seed=settings.seed,
        group=group,
        label_pattern=settings.label_pattern,
    )
    if settings.val is not None:
        there = {name for name, count in zip(val_index.class_names, val_index.class_counts(), strict=True) if count}
        if not there.intersection(index.class_names):
            found = f"the labels {', '.join(sorted(there)[:_NAMED])}" if there else "no labels"
            raise DatasetError(
                f"nothing in {settings.val} can be validated on: none of its images has one of the classes "
                f"{', '.join(index.class_names[:_NAMED])}; found {found}. Give a folder with the same class folders"
            )
        return index, val_index, _uncrossed(SplitReport.of(index, val_index, how=f"validation is {settings.val}"))
    if settings.fold is not None:
        how = f"fold {settings.fold}"
    else:
        how = "as given" if "val" in (index.explicit_split or ()) else "by hash of the path"
    if group is not None and how != "as given":
        how = how.replace("by hash of the path", "by hash") + f", groups by {settings.group}"
    counts = train_index.class_counts()
    for name, count in zip(index.class_names, counts, strict=True):
        if not count:
            raise DatasetError(f"class {name!r} has no image left to train on once validation has its part: add images, or give --val DIR")
    expected = settings.val_share * len(index)
    if how.startswith("by hash of the path") and group is None and expected >= _TELLING and len(val_index) < expected / _TOO_FEW:
        raise DatasetError(
            f"only {len(val_index):,} of {len(index):,} images would be validated on, not about {expected:,.0f}: they must be the training "
            f"part of an earlier split by the same seed, {settings.seed}. Give another --seed, or --val DIR"
        )
    if not len(val_index):
        raise DatasetError(f"no image of {index.root} is left to validate on: add images, or give --val DIR")
    report = SplitReport.of(train_index, val_index, how=how, group=group if how != "as given" else None)
    return train_index, val_index, _uncrossed(report)


def _uncrossed(report: SplitReport) -> SplitReport:
    if report.crossing:
        raise DatasetError(f"{report}: a file or group that is on both sides would be validated on what was learnt from it")
    return report


def positive_weights(index: ImageIndex) -> np.ndarray:
    """float32 (K,), for several labels an image: how many images are not of a class for each one that is, MOST_WEIGHT at most."""
    counts = np.maximum(index.class_counts(), 1)
    return np.minimum((len(index) - counts) / counts, MOST_WEIGHT).astype(np.float32)


def class_weights(stream: Stream) -> np.ndarray:
    """float32 (K,): the inverse of each class's share, 1 on average over the images."""
    counts = stream.index.class_counts()
    return (counts.sum() / (len(counts) * np.maximum(counts, 1))).astype(np.float32)
