"""SampleSpec: how an image becomes a sample. Saved with every model; no other file knows means, scales or fits."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, Literal, get_args

import numpy as np

from imgstream.errors import SpecError

Fit = Literal["crop", "pad", "stretch"]
Scale = Literal["unit", "signed", "imagenet", "caffe", "raw"]

FORMAT_VERSION = 1
DEFAULT_MAX_PIXELS = 178_956_970
"""Pillow's limit against decompression bombs (twice Image.MAX_IMAGE_PIXELS, where it raises): 178 MP."""
LARGEST = 8192
"""The most pixels that a sample is high or wide."""

_IMAGENET_MEAN = (0.485, 0.456, 0.406)  # torchvision and Keras ("torch" mode), RGB in [0, 1]
_IMAGENET_STD = (0.229, 0.224, 0.225)
_CAFFE_MEAN = (103.939, 116.779, 123.68)  # Keras ("caffe" mode), BGR in [0, 255]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleSpec:
    """How a file becomes a sample: float32 (height, width, channels), RGB or grey; BGR only for scale="caffe".

    ```python
    spec = SampleSpec(size=(224, 224), fit="crop", channels=3, scale="unit")
    ```

    Raises:
        SpecError: A value is impossible; the message names the field.
    """

    size: tuple[int, int] = (224, 224)
    """(height, width) in pixels, each 1 to 8192. The cost grows with the product."""
    fit: Fit = "crop"
    """crop: the largest centred box of the target's aspect; pad: the whole image on black; stretch: the whole image, distorted."""
    channels: int = 3
    """3 = RGB, 1 = grey (a JPEG's own luma; Rec. 601 luma of everything else)."""
    scale: Scale = "unit"
    """unit: [0, 1]; signed: [-1, 1]; imagenet: less the mean of each channel, divided by its deviation; raw: [0, 255]; caffe: BGR, [0, 255]
    less the mean of each channel, as VGG, ResNet (v1) and SqueezeNet were trained on.

    Samples are BGR for caffe, although RGB with reversed weights in the first convolution would do as well: a file of weights does not say
    whether they were reversed, so files stay what keras.applications takes them for.
    """
    max_pixels: int = DEFAULT_MAX_PIXELS
    """Files that declare more stored pixels are bad ("too large"), which is found before anything is decoded. Above the default, the memory
    that decoding one file may take grows with it; at the default it is 400 MiB (imgstream/formats/limits.py).
    """
    levels: tuple[float, float] | None = None
    """(low, high): the stored values that become black and white, in files of more than 8 bits: 16-bit, 32-bit and float. Samples are then
    made of 16-bit pixels; see `pixel_type`. None reads 8 bits: of a file of 16 bits the high byte, and of the others nothing.
    """

    def __post_init__(self) -> None:
        size = self.size
        if isinstance(size, int) and not isinstance(size, bool):
            size = (size, size)
        try:
            height, width = (int(n) for n in size)
            whole = tuple(size) == (height, width)
        except (TypeError, ValueError, OverflowError):
            raise SpecError(f"size must be (height, width) in pixels, such as (224, 224); got {self.size!r}") from None
        if not whole or not (1 <= height <= LARGEST and 1 <= width <= LARGEST):
            raise SpecError(f"size must be two whole numbers of pixels from 1 to {LARGEST}; got {self.size!r}")
        object.__setattr__(self, "size", (height, width))
        if self.fit not in get_args(Fit):
            raise SpecError(f"fit must be one of {', '.join(get_args(Fit))}; got {self.fit!r}")
        if self.channels not in (1, 3):
            raise SpecError(f"channels must be 3 (RGB) or 1 (grey); got {self.channels!r}")
        object.__setattr__(self, "channels", int(self.channels))
        if self.scale not in get_args(Scale):
            raise SpecError(f"scale must be one of {', '.join(get_args(Scale))}; got {self.scale!r}")
        if self.scale in ("imagenet", "caffe") and self.channels != 3:
            raise SpecError(f'scale="{self.scale}" has one mean for each of R, G and B: it needs channels=3')
        if isinstance(self.max_pixels, bool) or not isinstance(self.max_pixels, int) or self.max_pixels < 1:
            raise SpecError(f"max_pixels must be a whole number of pixels, 1 or more; got {self.max_pixels!r}")
        object.__setattr__(self, "levels", _checked_levels(self.levels))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of one sample."""
        return (*self.size, self.channels)

    @property
    def pixel_type(self) -> np.dtype[Any]:
        """The dtype of a sample's pixels before they are scaled: uint8; with `levels` uint16, which holds 65,536 steps from low to high."""
        return _UINT8 if self.levels is None else _UINT16

    @property
    def white(self) -> int:
        """The largest value of a pixel: 255, or with `levels` 65,535."""
        return 255 if self.levels is None else 65_535

    @property
    def bgr(self) -> bool:
        """Whether the channels of a sample are in reverse order. Pixels are RGB everywhere until they become floats."""
        return self.scale == "caffe"

    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        """The scale as float32 (channels,) `gain` and `bias`, in the order of a sample's channels: sample = pixel * gain + bias, pixel in
        0..white, its channels reversed where `bgr`.
        """
        if self.scale == "unit":
            gain, bias = [1 / 255] * self.channels, [0.0] * self.channels
        elif self.scale == "signed":
            gain, bias = [2 / 255] * self.channels, [-1.0] * self.channels
        elif self.scale == "imagenet":
            gain = [1 / (255 * s) for s in _IMAGENET_STD]
            bias = [-m / s for m, s in zip(_IMAGENET_MEAN, _IMAGENET_STD, strict=True)]
        elif self.scale == "caffe":
            gain, bias = [1.0] * 3, [-mean for mean in _CAFFE_MEAN]
        else:
            gain, bias = [1.0] * self.channels, [0.0] * self.channels
        return np.array([255 / self.white * each for each in gain], np.float32), np.array(bias, np.float32)

    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """float32 (channels,) each: the values of black and white, pixels 0 and `white`, in the order of a sample's channels."""
        gain, bias = self.affine()
        return bias, self.white * gain + bias

    @property
    def scaling(self) -> tuple[np.ndarray | np.float32, np.ndarray | np.float32 | None]:
        """`affine` in the form that is fastest to apply: one number if all channels have the same, no bias if it is 0."""
        return _scaling(self)

    def to_float(self, pixels: np.ndarray, out: np.ndarray) -> None:
        """Scale (..., W, C) `pixels`, of `pixel_type`, into float32 `out` of the same shape, whose rows are contiguous, without allocating
        memory.

        `out` may be a slot of a batch.
        """
        # Converting, then scaling in place takes two thirds of the time of one np.multiply with both types, which needs a buffer.
        if self.bgr:
            for channel in range(3):  # a whole copy of pixels[..., ::-1] has an inner loop over three channels
                np.copyto(out[..., channel], pixels[..., 2 - channel])
        else:
            np.copyto(out, pixels)
        gain, bias = _row_scaling(self, out.shape[-2])
        if not isinstance(gain, np.float32):
            out = out.reshape(*out.shape[:-2], -1)  # by the row: an inner loop over three channels is seven times slower
        if gain is not _ONE:
            np.multiply(out, gain, out=out)
        if bias is not None:
            np.add(out, bias, out=out)

    def stored_values(self, pixels: np.ndarray) -> np.ndarray:
        """float32, of the shape of `pixels`, which are of `pixel_type`: the values that a file stores for them, where black and white are
        the levels; without levels, the pixels.
        """
        low, high = self.levels or (0, 255)
        return (low + pixels * ((high - low) / self.white)).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """The fields as values that JSON can hold, read back by from_json. `levels` is there only where it is not None."""
        fields = {"format": FORMAT_VERSION, **dataclasses.asdict(self), "size": list(self.size)}
        if self.levels is None:
            del fields["levels"]  # so older imgstreams read what they can read
        else:
            fields["levels"] = list(self.levels)
        return fields

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SampleSpec:
        """The spec that to_json wrote.

        Raises:
            SpecError: The version or a field is unknown, or a field is missing.
        """
        fields = dict(data)
        version = fields.pop("format", None)
        if version != FORMAT_VERSION:
            raise SpecError(f"spec.json has format {version!r}; this imgstream reads format {FORMAT_VERSION}")
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := fields.keys() - known:
            raise SpecError(f"spec.json has fields this imgstream does not know: {', '.join(sorted(unknown))}")
        if missing := known - fields.keys() - {"levels"}:  # a default would be a guess at what the model was trained on
            raise SpecError(f"spec.json lacks {', '.join(sorted(missing))}")
        return cls(**fields)


def _checked_levels(levels: Any) -> tuple[float, float] | None:
    """(low, high) as floats. Raises SpecError."""
    if levels is None:
        return None
    try:
        low, high = (float(level) for level in levels)
    except (TypeError, ValueError, OverflowError):
        low = high = math.nan
    if isinstance(levels, str) or not (math.isfinite(high - low) and low < high):
        raise SpecError(f"levels must be (low, high), the values of black and white, low below high, such as (0, 4095); got {levels!r}")
    return low, high


def read_levels(text: str) -> tuple[float, float]:
    """(low, high) of "0:4095". Raises SpecError."""
    low, _, high = str(text).partition(":")
    try:
        found = _checked_levels((float(low), float(high)))
    except (ValueError, SpecError):
        raise SpecError(f"levels are LOW:HIGH, the values of black and white, LOW below HIGH, such as 0:4095; got {text!r}") from None
    assert found is not None
    return found


_UINT8, _UINT16 = np.dtype(np.uint8), np.dtype(np.uint16)
_ONE = np.float32(1)


@functools.lru_cache(maxsize=64)
def _scaling(spec: SampleSpec) -> tuple[np.ndarray | np.float32, np.ndarray | np.float32 | None]:
    gain, bias = spec.affine()
    same = bool((gain == gain[0]).all() and (bias == bias[0]).all())
    return gain[0] if same else gain, None if not bias.any() else bias[0] if same else bias


@functools.lru_cache(maxsize=64)
def _row_scaling(spec: SampleSpec, width: int) -> tuple[np.ndarray | np.float32, np.ndarray | np.float32 | None]:
    """`scaling`, with channels repeated for a row of `width` pixels; _ONE if there is nothing to multiply by."""
    gain, bias = _scaling(spec)
    if isinstance(gain, np.ndarray):
        gain, bias = np.tile(gain, width), None if bias is None else np.tile(bias, width)
    return _ONE if not isinstance(gain, np.ndarray) and gain == 1 else gain, bias
