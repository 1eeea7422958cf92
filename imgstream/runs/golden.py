"""Golden samples: encoded images drawn by our own code, and the logits that the model gave for them when it was saved.

A model that is loaded must give these logits again, through decoder, resize, scale and weights: so training and prediction cannot differ
unnoticed.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imgstream.decode.sample import SampleReader
from imgstream.errors import RunError
from imgstream.files.atomic import write_bytes
from imgstream.spec import SampleSpec

KINDS = ("JPEG", "PNG", "WEBP")
_HEIGHT, _WIDTH = 240, 320
FLOAT32_TOLERANCE = 1e-4
"""Largest difference, as a share of the largest logit, for a float32 model on the kind of device it was saved on."""
OTHER_TOLERANCE = 2e-2
"""The same in mixed precision, or on another device."""

Logits = Callable[[np.ndarray], np.ndarray]
"""(B, H, W, C) pixels → float32 (B, K)."""


def write_golden(file: Path, spec: SampleSpec, logits: Logits, device: str) -> None:
    """Draw and encode one image of each kind, and write them with their logits and the `device` that computed these."""
    encoded = [_draw(kind, number) for number, kind in enumerate(KINDS)]
    arrays: dict[str, Any] = {f"input_{kind.lower()}": np.frombuffer(data, np.uint8) for kind, data in zip(KINDS, encoded, strict=True)}
    buffer = io.BytesIO()
    np.savez(buffer, format=1, logits=logits(_samples(encoded, spec)), device=np.array(device), **arrays)
    write_bytes(file, buffer.getvalue())


def check_golden(file: Path, spec: SampleSpec, logits: Logits, device: str, mixed_precision: bool) -> None:
    """Raise RunError when the model no longer gives the logits in `file`."""
    encoded, expected, saved_on = _read(file)
    found = logits(_samples(encoded, spec))
    tolerance = FLOAT32_TOLERANCE if saved_on == device and not mixed_precision else OTHER_TOLERANCE
    if found.shape != expected.shape:
        raise RunError(f"{file.parent}: the model gives {found.shape[-1]} classes, its golden samples have {expected.shape[-1]}")
    difference = float(np.abs(found - expected).max() / max(1e-6, float(np.abs(expected).max())))
    if not difference <= tolerance:
        raise RunError(
            f"{file.parent}: the model does not give what it gave when it was saved: golden samples differ by {difference:.1e} of the "
            f"largest logit, {tolerance:.0e} is allowed. model.keras, spec.json and golden.npz must come from the same run, and the "
            f"decoders' versions may have changed"
        )


def draw_samples(spec: SampleSpec) -> np.ndarray:
    """The pixels of golden samples drawn anew: (len(KINDS), *spec.shape) of its pixel_type."""
    return _samples([_draw(kind, number) for number, kind in enumerate(KINDS)], spec)


def golden_files(file: Path) -> dict[str, bytes]:
    """The golden samples as encoded images, by kind. Raises RunError."""
    return dict(zip(KINDS, _read(file)[0], strict=True))


def golden_pixels(file: Path, spec: SampleSpec) -> np.ndarray:
    """The pixels of the golden samples: (len(KINDS), *spec.shape) of the spec's pixel_type, RGB or grey. Raises RunError."""
    return _samples(_read(file)[0], spec)


def _read(file: Path) -> tuple[list[bytes], np.ndarray, str]:
    """The encoded samples, their logits, and the device that computed these."""
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as golden:  # NumPy leaves a damaged file open
            if int(golden["format"]) != 1:
                raise RunError(f"{file} has format {int(golden['format'])}; this imgstream reads format 1")
            encoded = [golden[f"input_{kind.lower()}"].tobytes() for kind in KINDS]
            return encoded, golden["logits"], str(golden["device"])
    except FileNotFoundError:
        raise RunError(f"{file.parent} has no {file.name}: the run is incomplete. Train again, or copy the whole folder") from None
    except RunError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds of errors
        raise RunError(f"{file} is damaged: {error}") from error


def _draw(kind: str, number: int) -> bytes:
    y, x = np.mgrid[:_HEIGHT, :_WIDTH].astype(np.float64)
    waves = [np.sin(x / (11 + 5 * c) + number) * np.cos(y / (17 - 3 * c) - c) for c in range(3)]
    pixels = np.stack([127.5 + 90 * w + 30 * (x / _WIDTH - 0.5) for w in waves], axis=-1)
    disc = (x - 90 - 60 * number) ** 2 + (y - 120) ** 2 < 3600
    pixels[disc] = (220 - 70 * number, 60 + 70 * number, 40)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}))
    return buffer.getvalue()


def _samples(encoded: list[bytes], spec: SampleSpec) -> np.ndarray:
    reader = SampleReader(spec)
    samples = np.zeros((len(encoded), *spec.shape), spec.pixel_type)
    for data, pixels in zip(encoded, samples, strict=True):
        reader.decode(data, pixels)
    return samples
