"""Arrays of one image are read as NumPy wrote them, and nothing in them is run."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgstream.errors import BadImage
from imgstream.formats.header import read_header
from imgstream.formats.npy import array_header, header_bytes, values_of


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([None, 1, 3, 4]), st.booleans())
def test_pixels_are_those_that_were_saved(height: int, width: int, channels: int | None, fortran: bool) -> None:
    shape = (height, width) if channels is None else (height, width, channels)
    array = np.random.default_rng(height).integers(0, 256, shape, np.uint8)
    data = saved(np.asfortranarray(array) if fortran else array)
    header = read_header(data)
    assert (header.kind, header.width, header.height, header.orientation, header.least) == ("npy", width, height, 1, len(data))
    expected = array if channels is None else array[..., 0] if channels == 1 else array[..., :3]
    np.testing.assert_array_equal(values_of(memoryview(data)), expected)


@given(st.sampled_from(["<u2", ">u2", "<i4", "|i1", ">f4", "<f8", "<f2"]), st.booleans())
def test_values_of_any_number_of_bits_are_those_that_were_saved(dtype: str, fortran: bool) -> None:
    array = np.arange(24).reshape(2, 4, 3).astype(dtype)
    data = saved(np.asfortranarray(array) if fortran else array)
    header = read_header(data)
    assert (header.width, header.height, header.bits, header.least) == (4, 2, 8 * array.itemsize, len(data))
    np.testing.assert_array_equal(values_of(memoryview(data)), array)


def test_a_header_that_we_write_is_one_that_numpy_reads() -> None:
    for shape in ((5, 7), (1000, 1, 3)):
        head = header_bytes("|u1", shape)
        assert np.load(io.BytesIO(head + bytes(int(np.prod(shape))))).shape == shape
        assert array_header(head) == ("|u1", False, shape, len(head))


@pytest.mark.parametrize(
    ("array", "detail"),
    [
        (np.zeros((4, 4), bool), "unsupported: an array of bool; an image has uint8, other integers or floats"),
        (np.zeros((4, 4), np.complex64), "unsupported: an array of complex64"),
        (np.zeros((4, 4, 5), np.uint8), r"unsupported: an array of shape \(4, 4, 5\)"),
        (np.zeros(4, np.uint8), "unsupported: an array of shape"),
        (np.zeros((0, 4), np.uint8), "corrupt: declares 4×0 pixels"),
        (np.array([{"a": 1}], object), r"unsupported: an array of object"),
    ],
)
def test_other_arrays_say_what_they_are(array: np.ndarray, detail: str) -> None:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    with pytest.raises(BadImage, match=detail):
        read_header(file.getvalue())


@pytest.mark.parametrize(
    "text",
    ["{'descr': '|u1'", "__import__('os').getpid()", "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 3)}", "(" * 200, "[]"],
)
def test_a_header_that_is_none_is_corrupt(text: str) -> None:
    with pytest.raises(BadImage, match=r"corrupt: an \.npy file whose header cannot be read"):
        read_header(b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode() + bytes(99))


def test_a_file_that_ends_early_is_truncated() -> None:
    data = saved(np.zeros((8, 9, 3), np.uint8))
    for length in (7, 30, len(data) - 1):
        with pytest.raises(BadImage, match="truncated"):
            read_header(data[:length]) and values_of(memoryview(data[:length]))
