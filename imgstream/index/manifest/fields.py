"""Turns the columns of a manifest into numbers (labels, parts of the split, groups, weights), and finds rows with impossible values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from imgstream.errors import DatasetError
from imgstream.index.selection import SEPARATOR
from imgstream.index.split.path_hash import keys_of
from imgstream.index.table.table import PARTS

MOST_CLASSES = 1_000_000

_WHOLE = re.compile(r"([+-]?[0-9]{1,18})(?:\.0*)?")  # also as pandas writes whole numbers of a column with gaps: 3.0
_PARTS = {b"": 0, b"train": 1, b"val": 2, b"valid": 2, b"validation": 2, b"test": 3}
_FLAGS = {b"": 0, b"0": 0, b"0.0": 0, b"false": 0, b"1": 1, b"1.0": 1, b"true": 1}
_NONE, _UNKNOWN, _NO_TEXT = -1, -2, -3

Bad = list[tuple[str, np.ndarray]]
"""(reason, which rows: bool (n,))."""


class Labels:
    """Numbers the labels of a manifest: in the order in which they are met, or by the class names given."""

    def __init__(self, class_names: Sequence[str] | None) -> None:
        """`class_names`: the classes that there are; None for those that are met. Raises DatasetError for a name that is given twice."""
        self._given = class_names is not None
        names = list(class_names or [])
        if repeated := {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set():
            raise DatasetError(f"the class {min(repeated)!r} is given twice; give each once")
        self._numbers = {name: number for number, name in enumerate(names)}
        self._all_whole = all(_WHOLE.fullmatch(name) for name in names)

    def numbers(self, column: pa.Array) -> tuple[np.ndarray, Bad]:
        """int32 (n,), -1 = none, and the rows that are no UTF-8 or of an unknown class. Raises DatasetError for too many classes."""
        codes, values = _encoded(column)
        found = np.array([*map(self._number, values), _NONE], np.int32)[codes]
        if len(self._numbers) > MOST_CLASSES:
            raise DatasetError(
                f"there are more than {MOST_CLASSES:,} labels: that column is no label. Say which one is, with --columns label=…"
            )
        return np.maximum(found, _NONE), [("unknown label", found == _UNKNOWN), ("encoding", found == _NO_TEXT)]

    def names(self) -> tuple[list[str], np.ndarray]:
        """The class names in code-point order, or by value when all are whole numbers; and int32 (met + 1,) that maps labels to it, -1 to
        -1.
        """
        whole = {name: match[1] for name in self._numbers if (match := _WHOLE.fullmatch(name))}
        if len(whole) == len(self._numbers) and not self._given:
            shown = {name: str(int(whole[name])) for name in self._numbers}  # 1, 01 and 1.0 are one class
        else:
            shown = {name: name for name in self._numbers}
        if len(whole) == len(self._numbers):
            class_names = sorted(set(shown.values()), key=lambda name: (float(name), name))
        else:
            class_names = sorted(shown.values())
        place = {name: number for number, name in enumerate(class_names)}
        return class_names, np.array([*(place[shown[name]] for name in self._numbers), _NONE], np.int32)

    def _number(self, value: bytes) -> int:
        if not value:
            return _NONE
        try:
            text = value.decode()
        except UnicodeDecodeError:
            return _NO_TEXT
        number = self._numbers.get(text)
        if number is not None:
            return number
        if not self._given:
            return self._numbers.setdefault(text, len(self._numbers))
        match = _WHOLE.fullmatch(text)
        if match is None:
            return _UNKNOWN
        if self._all_whole:  # then a number is a name, not a position
            return self._numbers.get(str(int(match[1])), _UNKNOWN)
        return int(match[1]) if 0 <= int(match[1]) < len(self._numbers) else _UNKNOWN


def joined(flags: Mapping[str, pa.Array]) -> tuple[pa.Array, Bad]:
    """The labels of columns of 0 and 1, by class: binary (n,), such as b"cat|dog", or b"|" where all are 0; and rows with other values."""
    given = np.stack([_flags(column) for column in flags.values()], 1)
    kinds, codes = np.unique(given, axis=0, return_inverse=True)
    names = [name.encode("utf-8", "surrogateescape") for name in flags]
    texts = [SEPARATOR.encode().join(name for name, flag in zip(names, kind, strict=True) if flag == 1) for kind in kinds.tolist()]
    column = pa.array([text or SEPARATOR.encode() for text in texts], pa.binary()).take(pa.array(codes.reshape(-1)))
    return column, [("not 0 or 1", np.any(given < 0, axis=1))]


def _flags(column: pa.Array) -> np.ndarray:
    """int8 (n,): 0, also for an empty value, 1, or -1 for anything else."""
    codes, values = _encoded(column)
    return np.array([*(_FLAGS.get(value.strip().lower(), -1) for value in values), 0], np.int8)[codes]


def parts(column: pa.Array) -> tuple[np.ndarray, Bad]:
    """uint8 (n,): positions in PARTS."""
    codes, values = _encoded(column)
    found = np.array([*(_PARTS.get(value.strip().lower(), len(PARTS)) for value in values), 0], np.uint8)[codes]
    return found, [("unknown split", found == len(PARTS))]


def groups(column: pa.Array) -> np.ndarray:
    """uint64 (n,): split.path_hash.keys_of the values, 0 = none."""
    codes, values = _encoded(column)
    keys = np.where(np.array([bool(value) for value in values], bool), keys_of(values), np.uint64(0))
    return np.append(keys, np.uint64(0))[codes]


def weights(column: pa.Array) -> tuple[np.ndarray, Bad]:
    """float32 (n,), empty = 1; and the rows whose weight is no finite number of at least 0."""
    if pa.types.is_binary(column.type):
        codes, values = _encoded(column)
        numbers = np.array([*map(_weight, values), 1.0])[codes]
    else:
        numbers = column.fill_null(1.0).to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        found = numbers.astype(np.float32)
    return found, [("bad weight", ~(np.isfinite(found) & (found >= 0)))]


def _weight(value: bytes) -> float:
    try:
        return float(value) if value.strip() else 1.0
    except ValueError:
        return np.nan


def _encoded(column: pa.Array) -> tuple[np.ndarray, list[bytes]]:
    """int32 (n,), positions in the list of different values; -1 = null."""
    encoded = column.dictionary_encode()
    return encoded.indices.fill_null(-1).to_numpy(), encoded.dictionary.to_pylist()
