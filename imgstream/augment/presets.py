"""The built-in augmentations: uniform numbers become geometry and colour, in float64, the same way for every decoder."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import NamedTuple

import cv2
import numpy as np

from imgstream.geometry import Box

MID_GREY = 127.5
LUMA = (0.299, 0.587, 0.114)  # Rec. 601, as in JPEG

# What each of a sample's numbers is for (see order.DRAWS). A number keeps its meaning for good: runs are resumed and replayed by it.
(_AREA, _ASPECT, _LEFT, _TOP, _FLIP, _BRIGHTNESS, _CONTRAST, _SATURATION, _ROTATION) = range(9)
(_ERASE, _ERASE_AREA, _ERASE_ASPECT, _ERASE_LEFT, _ERASE_TOP, _MIX, _MIX_SHARE, _MIX_LEFT, _MIX_TOP) = range(9, 18)
FIRST_FREE_NUMBER = 18
"""The numbers from here on choose operations: see operation_presets.py."""


class Mix(NamedTuple):
    """How a sample is mixed with the next one in its batch; its own `share` is in [0.5, 1]."""

    kind: str  # "mixup" or "cutmix"
    share: float
    left: float  # of the CutMix patch, as fractions of the room there is
    top: float

    def patch(self, width: int, height: int) -> tuple[int, int, int, int]:
        """left, top, width, height, in pixels, of the patch that CutMix takes from the next sample."""
        side = math.sqrt(1 - self.share)
        patch_width, patch_height = int(width * side), int(height * side)
        return int(self.left * (width - patch_width + 1)), int(self.top * (height - patch_height + 1)), patch_width, patch_height


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """The ranges of a built-in augmentation. `numbers` below is float64 (DRAWS,), uniform in [0, 1), of one sample."""

    name: str
    area: tuple[float, float] = (0.35, 1.0)
    """Random resized crop: share of the largest box of the target's aspect that the image holds."""
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    """Random resized crop: width/height relative to the target's, uniform in its logarithm."""
    colour: float = 0.0
    """Brightness, contrast and saturation factors, each from 1 - colour to 1 + colour."""
    rotation: float = 0.0
    """Degrees either way, about the centre, with a mirrored border."""
    erase: float = 0.0
    """Probability of a mid-grey rectangle over 2 to 20 % of the sample (Zhong et al., "Random erasing", 2017)."""
    mix: float = 0.0
    """Probability of MixUp (Zhang et al., 2017) or, equally often, CutMix (Yun et al., 2019) with the next sample of the batch."""

    def box(self, numbers: np.ndarray, width: int, height: int, target_width: int, target_height: int) -> Box:
        """The random crop in an oriented image of width × height pixels."""
        area_number, aspect_number, left, top = numbers[_AREA : _TOP + 1].tolist()  # Python's floats are quicker than NumPy's, and equal
        aspect = target_width / target_height
        whole_width = min(float(width), height * aspect)
        area = (self.area[0] + (self.area[1] - self.area[0]) * area_number) * whole_width * (whole_width / aspect)
        low, high = self._log_aspect
        aspect *= math.exp(low + (high - low) * aspect_number)
        box_width = min(math.sqrt(area * aspect), float(width))
        box_height = min(area / box_width, float(height))
        return Box(left * (width - box_width), top * (height - box_height), box_width, box_height)

    @functools.cached_property
    def _log_aspect(self) -> tuple[float, float]:
        return math.log(self.aspect[0]), math.log(self.aspect[1])

    def flips(self, numbers: np.ndarray) -> bool:
        """Whether the sample is mirrored, left to right."""
        return bool(numbers[_FLIP] < 0.5)

    def colour_matrix(self, numbers: np.ndarray, channels: int) -> np.ndarray | None:
        """float64 (channels, channels + 1): saturation, then contrast about mid-grey, then brightness, in one matrix; None if unused."""
        if not self.colour:
            return None
        factors = (1 + self.colour * (2 * number - 1) for number in numbers[_BRIGHTNESS : _SATURATION + 1].tolist())
        brightness, contrast, saturation = factors
        if channels == 1:
            return np.array([[contrast, MID_GREY * (brightness - contrast)]])
        grey = [(1 - saturation) * share for share in LUMA]
        rows = []
        for channel in range(3):  # in Python's floats: thirteen of NumPy's small arrays would take ten times as long
            row = [contrast * (saturation * (other == channel) + grey[other]) for other in range(3)]
            rows.append([*row, MID_GREY * (brightness - (row[0] + row[1] + row[2]))])
        return np.array(rows)

    def rotation_matrix(self, numbers: np.ndarray, width: int, height: int) -> np.ndarray | None:
        """float64 (2, 3): from the sample's pixel centres to the source's, about the centre; None if unused."""
        if not self.rotation:
            return None
        angle = math.radians(self.rotation * (2 * numbers[_ROTATION] - 1))
        cos, sin = math.cos(angle), math.sin(angle)
        x, y = (width - 1) / 2, (height - 1) / 2
        return np.array([[cos, sin, x - cos * x - sin * y], [-sin, cos, y + sin * x - cos * y]])

    def erased(self, numbers: np.ndarray, width: int, height: int) -> tuple[int, int, int, int] | None:
        """left, top, width, height of the erased rectangle in pixels of the sample, or None."""
        if numbers[_ERASE] >= self.erase:
            return None
        area = (0.02 + 0.18 * numbers[_ERASE_AREA]) * width * height
        aspect = math.exp(math.log(0.3) * (2 * numbers[_ERASE_ASPECT] - 1))  # 0.3 to 1/0.3, as in the paper
        patch_width = min(max(1, int(math.sqrt(area * aspect))), width)
        patch_height = min(max(1, int(math.sqrt(area / aspect))), height)
        left = int(numbers[_ERASE_LEFT] * (width - patch_width + 1))
        return left, int(numbers[_ERASE_TOP] * (height - patch_height + 1)), patch_width, patch_height

    def mixing(self, numbers: np.ndarray) -> Mix | None:
        """How this sample is mixed with the next one of its batch, or None."""
        if numbers[_MIX] >= self.mix:
            return None
        kind = "mixup" if numbers[_MIX] < self.mix / 2 else "cutmix"
        return Mix(kind, float(0.5 + 0.5 * numbers[_MIX_SHARE]), float(numbers[_MIX_LEFT]), float(numbers[_MIX_TOP]))

    def ends_in_scratch(self, numbers: np.ndarray) -> bool:
        """Whether `apply` will return `scratch`, not `image`."""
        return (self.flips(numbers) + bool(self.colour) + bool(self.rotation)) % 2 == 1

    def apply(self, image: np.ndarray, numbers: np.ndarray, scratch: np.ndarray) -> np.ndarray:
        """Everything after the crop, on uint8 (H, W, C). Uses `image` and `scratch` (same shape) in turns, and returns the one that holds
        the result, so that nothing is allocated.
        """
        height, width, channels = image.shape
        if self.flips(numbers):
            cv2.flip(image, 1, dst=_plain(scratch))
            image, scratch = scratch, image
        matrix = self.colour_matrix(numbers, channels)
        if matrix is not None:
            if channels == 3:
                cv2.transform(image, matrix, dst=scratch)
            else:
                table = np.clip(np.rint(matrix[0, 0] * np.arange(256) + matrix[0, 1]), 0, 255).astype(np.uint8)
                cv2.LUT(_plain(image), table, dst=_plain(scratch))
            image, scratch = scratch, image
        rotation = self.rotation_matrix(numbers, width, height)
        if rotation is not None:
            cv2.warpAffine(
                _plain(image),
                rotation,
                (width, height),
                dst=_plain(scratch),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REFLECT_101,
            )
            image, scratch = scratch, image
        erased = self.erased(numbers, width, height)
        if erased is not None:
            left, top, patch_width, patch_height = erased
            image[top : top + patch_height, left : left + patch_width] = 127
        return image


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(name="light"),
        Preset(name="standard", colour=0.2),
        Preset(name="strong", colour=0.2, rotation=10.0, erase=0.25, mix=0.5),
    )
}


def mix_batch(images: np.ndarray, labels: np.ndarray, mixes: list[Mix | None], class_count: int) -> np.ndarray:
    """Mix float32 or uint8 (B, H, W, C) `images` in place, each with the next (the last with the first); return labels float32
    (B, class_count).

    `labels` is int32 (B,), or float32 (B, class_count) where an image may have several; -1 (no label) gives a row of zeros.
    """
    if labels.ndim == 2:
        shares = np.maximum(labels, 0)
    else:
        shares = np.zeros((len(labels), class_count), np.float32)
        known = labels >= 0
        shares[known, labels[known]] = 1
    own = shares.copy()
    count, height, width = images.shape[:3]
    if count < 2:
        return shares
    first = images[0].copy()
    for i, mix in enumerate(mixes):
        if mix is None:
            continue
        partner = images[i + 1] if i + 1 < count else first
        share = mix.share
        if mix.kind == "mixup":
            mixed = np.multiply(images[i], np.float32(share), dtype=np.float32, out=None if images.dtype == np.uint8 else images[i])
            mixed += partner * np.float32(1 - share)
            if images.dtype == np.uint8:
                np.rint(mixed, out=images[i], casting="unsafe")
        else:
            left, top, patch_width, patch_height = mix.patch(width, height)
            window = np.s_[top : top + patch_height, left : left + patch_width]
            images[i][window] = partner[window]
            share = 1 - patch_width * patch_height / (width * height)
        shares[i] = own[i] * np.float32(share) + own[(i + 1) % count] * np.float32(1 - share)
    return shares


def _plain(image: np.ndarray) -> np.ndarray:
    """The image without a channel axis of one, which OpenCV drops and then cannot write into."""
    return image[..., 0] if image.shape[2] == 1 else image
