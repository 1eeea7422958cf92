"""Decodes the first frame of a DICOM file by pydicom: rescaled values by a spec's levels, or in 8 bits by the file's own window."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from imgstream.decode.levels import ToPixels, at_levels
from imgstream.errors import BadImage
from imgstream.formats.dicom import import_pydicom
from imgstream.formats.header import Header

_CODEC = "needs a codec: pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"


def load(data: memoryview, header: Header, to_pixels: ToPixels | None) -> np.ndarray:
    """(h, w) grey or (h, w, 3) RGB, uint8; or what `to_pixels` makes of grey values, rescaled as the file says, such as Hounsfield units.

    Without `to_pixels` black and white are the file's window, or all of its bits where it has none. Raises BadImage.
    """
    import_pydicom()
    from pydicom.dataset import Dataset
    from pydicom.pixels import pixel_array

    dataset = Dataset()
    try:
        values = pixel_array(io.BytesIO(data), ds_out=dataset, index=0)
        if values.shape[:2] != (header.height, header.width):
            raise BadImage("corrupt", f"declares {header.width}×{header.height} pixels, but decodes to {values.shape[1]}×{values.shape[0]}")
        return (
            _colour(values, dataset)
            if values.ndim == 3 or dataset.PhotometricInterpretation == "PALETTE COLOR"
            else _grey(values, dataset, to_pixels)
        )
    except BadImage:
        raise
    except Exception as error:  # it raises nearly everything on damaged files
        raise _as_bad_image(error) from None


def _grey(values: np.ndarray, dataset: Any, to_pixels: ToPixels | None) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut

    inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    rescaled = apply_modality_lut(values, dataset)
    if to_pixels is not None and (dataset.BitsStored > 8 or rescaled.dtype != np.uint8):
        return to_pixels(rescaled, inverted)
    return (at_levels(rescaled, _window(rescaled, dataset), inverted) >> 8).astype(np.uint8)


def _window(values: np.ndarray, dataset: Any) -> tuple[float, float]:
    """Black and white: of the first window (PS3.3, C.11.2.1.2), else of all bits that are stored, rescaled."""
    centre, width = (_first(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if centre is not None and width is not None and width >= 1:
        low = centre - 0.5 - (width - 1) / 2
        return low, low + max(1.0, width - 1)
    signed = int(dataset.get("PixelRepresentation", 0))
    low, high = (-(2 ** (dataset.BitsStored - 1)), 2 ** (dataset.BitsStored - 1) - 1) if signed else (0, 2**dataset.BitsStored - 1)
    slope, intercept = (_first(dataset.get(name, usual)) for name, usual in (("RescaleSlope", 1), ("RescaleIntercept", 0)))
    ends = sorted(slope * end + intercept for end in (low, high)) if slope and intercept is not None else [low, high]
    return float(ends[0]), float(ends[1])


def _first(value: Any) -> float | None:
    if value is None:
        return None
    return float(value[0] if isinstance(value, list | tuple) or hasattr(value, "append") else value)


def _colour(values: np.ndarray, dataset: Any) -> np.ndarray:
    """uint8 (h, w, 3), RGB; pydicom has made it of YBR already."""
    from pydicom.pixels import apply_color_lut

    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)[..., :3]
        return np.ascontiguousarray(values if values.dtype == np.uint8 else values >> 8, np.uint8)
    if values.dtype != np.uint8 or values.shape[2] != 3:
        raise BadImage("unsupported", f"a DICOM file of {values.dtype} {values.shape}; colours of 8 bits are read")
    return np.ascontiguousarray(values)


def _as_bad_image(error: Exception) -> BadImage:
    text = " ".join(str(error).split())[:160] or type(error).__name__
    if isinstance(error, MemoryError):
        return BadImage("too large", f"needs more memory than can be had: {text}")
    if "plugin" in text or isinstance(error, NotImplementedError):
        return BadImage("unsupported", f"compressed in a way that {_CODEC} ({text})")
    short = isinstance(error, EOFError) or any(
        sign in text.lower() for sign in ("less than the expected", "cannot reshape", "end of", "truncat", "unexpected end")
    )
    return BadImage("truncated" if short else "corrupt", f"DICOM pixels that cannot be decoded ({text})")
