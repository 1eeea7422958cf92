"""DICOM: what a file says of its image. Parsed by pydicom, the extra [dicom]; pixels are left alone here.

(DICOM PS3.3, C.7.6.3: the image pixel module; PS3.10, 7.1: the preamble)
"""

from __future__ import annotations

import functools
import io
import logging
import warnings
from typing import Any, NamedTuple

from imgstream.errors import BadImage

MAGIC_AT, MAGIC = 128, b"DICM"

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_META = 1 << 12  # bytes in which the transfer syntax stands


class ImageHeader(NamedTuple):
    """What a DICOM file declares of its first frame."""

    width: int
    height: int
    samples: int
    bits: int
    """Stored, of a sample."""
    least: int
    """Bytes that the first frame takes; 0 where it is compressed."""


def image_header(data: bytes | memoryview, whole: bool) -> ImageHeader:
    """The header in the bytes of a file, or (not `whole`) in its first part. Raises BadImage, and IndexError where a part ends early."""
    dataset, ends = _read(data)
    found = [dataset.get(name) for name in ("Columns", "Rows")]
    if not all(isinstance(side, int) for side in found):
        if not whole:
            raise IndexError
        raise BadImage("unsupported", "a DICOM file without an image")
    if whole and ends:
        raise BadImage("truncated", "a DICOM file that ends before its pixels, or has none")
    width, height = found
    samples, stored, taken = (
        _number(dataset, name, usual) for name, usual in (("SamplesPerPixel", 1), ("BitsStored", 8), ("BitsAllocated", 8))
    )
    compressed = dataset.file_meta.TransferSyntaxUID.is_encapsulated
    return ImageHeader(width, height, samples, stored, 0 if compressed else width * height * samples * taken // 8)


def _read(data: bytes | memoryview) -> tuple[Any, bool]:
    """Pydicom's Dataset of a file without its pixels, and whether nothing follows it."""
    pydicom = import_pydicom()
    if _DEFLATED in bytes(data[:_META]):  # unpacked as a whole, whatever it becomes
        raise BadImage("unsupported", "a DICOM file that is deflated as a whole; write it with another transfer syntax")
    try:
        file = io.BytesIO(data)
        dataset = pydicom.dcmread(file, stop_before_pixels=True)
        _ = dataset.file_meta.TransferSyntaxUID.is_encapsulated
        return dataset, file.tell() >= len(data)
    except Exception as error:  # it raises nearly everything on damaged files
        reason = "truncated" if isinstance(error, EOFError) else "corrupt"
        raise BadImage(reason, f"DICOM data that cannot be read ({_said(error)})") from None


@functools.cache
def import_pydicom() -> Any:
    """The package, silenced. Raises BadImage."""
    try:
        import pydicom
        import pydicom.config
    except ImportError:
        raise BadImage("unsupported", "DICOM needs pydicom: pip install 'imgstream[dicom]'") from None
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    logging.getLogger("pydicom").addHandler(logging.NullHandler())
    logging.getLogger("pydicom").propagate = False
    warnings.filterwarnings("ignore", module=r"pydicom\.")
    return pydicom


def _number(dataset: Any, name: str, usual: int) -> int:
    value = dataset.get(name, usual)
    if not isinstance(value, int) or not 1 <= value <= 64:
        raise BadImage("corrupt", f"a DICOM file whose {name} is {str(value)[:20]!r}")
    return value


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
