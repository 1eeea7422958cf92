"""Which images a run was trained on, and which it was validated on: computed again from its list and its settings."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from imgstream.errors import ImgstreamError
from imgstream.index import ImageIndex, kind_of, open_index
from imgstream.index.split.groups import Groups, groups
from imgstream.index.split.path_hash import keys_of
from imgstream.runs.folder import RunFolder


def sides(
    index: ImageIndex,
    *,
    val: str | None,
    val_share: float,
    fold: tuple[int, int] | None,
    seed: int,
    group: Groups | None,
    label_pattern: str | None,
) -> tuple[ImageIndex, ImageIndex]:
    """The images of `index` to train on, and those to validate on: the folder or list `val`, or the k-th of n parts, k from 0, with `fold`
    (k, n), or a `val_share` by hash. Raises what opening `val` raises.
    """
    if val is not None:
        return index, open_index(
            val, label_pattern if kind_of(val) in ("folder", "bucket", "shards") else None, multi_label=index.is_multi_label
        )
    if fold is not None:
        k, n = fold
        return index.folds(n, seed, group=group)[k]
    return index.split(val=val_share, seed=seed, group=group)


def own_images(folder: RunFolder) -> tuple[Mapping[str, ImageIndex], list[str]]:
    """The images of the run as {"all": …, "train": …, "val": …}, as far as they can be listed, and why others cannot."""
    found: dict[str, ImageIndex] = {}
    try:
        found["all"] = index = ImageIndex.load(folder.index)
        settings = folder.read_json("settings.json")
        fold = settings.get("fold")
        k, _, n = (fold or "").partition("/")
        found["train"], found["val"] = sides(
            index,
            val=settings.get("val"),
            val_share=settings.get("val_share", 0.2),
            fold=(int(k) - 1, int(n)) if fold else None,
            seed=settings.get("seed", 0),
            group=groups(settings["group"]) if settings.get("group") else None,
            label_pattern=settings.get("label_pattern"),
        )
    except (ImgstreamError, ValueError, TypeError) as error:
        return found, [f"The run's own images cannot all be listed: {error}"]
    return found, []


def trained_on(index: ImageIndex, train: ImageIndex) -> np.ndarray:
    """Positions of the images of `index` that are in `train` too: int64 (m,), ascending. They are the same if they lie at the same place,
    whatever the links that lead there; where the folder of `train` is gone, as on another machine, if they have the same relative path.
    Memory: 8 bytes an image of both.
    """
    at_place = bool(train.root) and os.path.lexists(train.root)
    return np.flatnonzero(np.isin(_keys(index, at_place), _keys(train, at_place)))


def _keys(index: ImageIndex, at_place: bool) -> np.ndarray:
    root = os.path.realpath(os.fsencode(index.root)) if at_place else b""
    chunks = (keys_of([os.path.join(root, index.relative_bytes(i)) for i in at.tolist()]) for at in index.chunks())
    return np.concatenate([np.zeros(0, np.uint64), *chunks])
