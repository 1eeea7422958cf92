"""RandAugment, TrivialAugment, and policies in the manner of AutoAugment: after crop and flip, operations that are chosen by chance."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from imgstream.augment.operations import OPERATIONS, STANDARD, WIDE, apply_operation
from imgstream.augment.presets import FIRST_FREE_NUMBER, Preset
from imgstream.errors import AugmentError
from imgstream.order import DRAWS

_MOST = (DRAWS - FIRST_FREE_NUMBER - 1) // 2
"""Operations of a sub-policy: each has two numbers, and the choice of the sub-policy one."""
_TENTHS = 10
"""A level in a file is from 0 to 10, as in the paper's tables."""


class Operation(NamedTuple):
    """What is done to one sample."""

    name: str
    level: float
    """0 to 1, of the operation's range."""
    positive: bool


class Step(NamedTuple):
    """An operation of a sub-policy."""

    name: str
    probability: float
    level: float
    """0 to 1."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OperationPreset(Preset):
    """The random resized crop and the flip of the other presets, and then operations by the sample's own numbers."""

    count: int = 1
    """Operations of a sample, without `sub_policies`; each may be any of OPERATIONS."""
    level: float | None = None
    """Their level, 0 to 1; None for any."""
    wide: bool = False
    """Whether ranges are those of TrivialAugment."""
    sub_policies: tuple[tuple[Step, ...], ...] = ()
    """One of them is chosen for each sample, and each of its steps is done with its probability."""

    def operations(self, numbers: np.ndarray) -> list[Operation]:
        """What is done to a sample, in order. `numbers`: float64 (DRAWS,), uniform in [0, 1)."""
        free = numbers[FIRST_FREE_NUMBER:].tolist()
        if self.sub_policies:
            steps = self.sub_policies[int(free[0] * len(self.sub_policies))]
            rolls = zip(steps, free[1::2], free[2::2], strict=False)  # there are more numbers than steps
            return [Operation(step.name, step.level, sign < 0.5) for step, chance, sign in rolls if chance < step.probability]
        found = []
        for which, sign, level in zip(*(free[at : at + 3 * self.count : 3] for at in range(3)), strict=True):
            name = OPERATIONS[int(which * len(OPERATIONS))]
            found.append(Operation(name, level if self.level is None else self.level, sign < 0.5))
        return found

    def apply(self, image: np.ndarray, numbers: np.ndarray, scratch: np.ndarray) -> np.ndarray:
        """See Preset."""
        flipped = super().apply(image, numbers, scratch)
        self.operate(flipped, numbers, scratch if flipped is image else image)
        return flipped

    def operate(self, image: np.ndarray, numbers: np.ndarray, scratch: np.ndarray) -> None:
        """The operations alone, on uint8 (H, W, C) `image`, in place."""
        for name, level, positive in self.operations(numbers):
            apply_operation(image, scratch, name, level, positive, WIDE if self.wide else STANDARD)

    def to_json(self) -> list[list[list[Any]]]:
        """The sub-policies as a file has them."""
        return [[[step.name, step.probability, step.level * _TENTHS] for step in steps] for steps in self.sub_policies]


OPERATION_PRESETS = {
    preset.name: preset
    for preset in (
        OperationPreset(name="randaugment", count=2, level=9 / 31),
        OperationPreset(name="trivialaugment", wide=True),
    )
}


def is_sub_policies(data: Any) -> bool:
    """Whether what a file holds is meant as sub-policies: {"sub_policies": …}, or a list of lists of lists."""
    if isinstance(data, Mapping):
        return "sub_policies" in data
    return isinstance(data, list) and bool(data) and all(isinstance(each, list) and each and isinstance(each[0], list) for each in data)


def from_sub_policies(data: Any, name: str, source: str) -> OperationPreset:
    """The preset of the sub-policies that the file `source` holds: a list, or {"sub_policies": a list}, of lists of
    [operation, probability 0 to 1, level 0 to 10]. Raises AugmentError.
    """
    given = data["sub_policies"] if isinstance(data, Mapping) else data
    if not isinstance(given, list) or not given:
        raise AugmentError(f"{source} has no sub-policies: give a list of lists, such as [[[Posterize, 0.4, 8], [Rotate, 0.6, 9]], …]")
    return OperationPreset(
        name=name, sub_policies=tuple(tuple(_steps(steps, f"{source}, sub-policy {n}")) for n, steps in enumerate(given, 1))
    )


def _steps(given: Any, where: str) -> list[Step]:
    if not isinstance(given, list) or not 1 <= len(given) <= _MOST:
        raise AugmentError(f"{where} must be a list of 1 to {_MOST} operations; got {given!r}"[:500])
    found = []
    for step in given:
        if not isinstance(step, list) or len(step) != 3 or not all(_is_number(value) for value in step[1:]):
            raise AugmentError(f"{where}: an operation is [name, probability, level], such as [Rotate, 0.6, 9]; got {step!r}"[:500])
        name, probability, level = step
        if name not in OPERATIONS:
            raise AugmentError(f"{where}: there is no operation {name!r}; there are {', '.join(OPERATIONS)}"[:500])
        if not 0 <= probability <= 1 or not 0 <= level <= _TENTHS:
            raise AugmentError(f"{where}: {name} needs a probability from 0 to 1 and a level from 0 to {_TENTHS}; got {step[1:]}")
        found.append(Step(name, float(probability), level / _TENTHS))
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
