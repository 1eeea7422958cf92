"""Which images a run was trained on, and which it was validated on: computed again from its list and its settings."""

from __future__ import annotations

from imgstream.index import ImageIndex, kind_of, open_index
from imgstream.index.split.groups import Groups


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
        return index, open_index(val, label_pattern if kind_of(val) in ("folder", "shards") else None)
    if fold is not None:
        k, n = fold
        return index.folds(n, seed, group=group)[k]
    return index.split(val=val_share, seed=seed, group=group)
