"""Which JPEGs are built regularly, what their scans cost, and what is left of one for Pillow."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imgstream.formats.jpeg import bare_jpeg, is_regular, passes, read_frame

PHOTOS = sorted((Path(__file__).resolve().parents[2] / "../shared/data/photos").glob("*"))[:20]


def encode(mode: str = "RGB", size: tuple[int, int] = (64, 48), **options: object) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 255, (size[1] // 8, size[0] // 8, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(size).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def scans(data: bytes) -> list[int]:
    """Where each scan begins."""
    at = []
    while (found := data.find(b"\xff\xda", at[-1] + 1 if at else 0)) >= 0:
        at.append(found)
    return at


BASELINE, PROGRESSIVE = encode(), encode(progressive=True)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"optimize": True}, {"subsampling": 0}, {"subsampling": 1}, {"comment": b"a"}, {"restart_marker_rows": 1}],
)
def test_what_encoders_write_is_regular(mode: str, options: dict[str, object]) -> None:
    assert is_regular(encode(mode, **options))


def test_what_follows_the_end_does_not_matter() -> None:
    for data in (BASELINE, PROGRESSIVE):
        assert is_regular(data + b"\xff\xd8\xff\xc0 a trailer of the camera's")


def test_four_components_are_not_regular() -> None:
    assert not is_regular(encode("CMYK"))


@pytest.mark.parametrize("data", [BASELINE, PROGRESSIVE], ids=["baseline", "progressive"])
def test_nothing_that_was_cut_is_regular(data: bytes) -> None:
    assert not any(is_regular(data[:length]) for length in range(len(data)))
    last = scans(data)[-1]  # before it ends, no end mark makes up for what is missing
    assert not any(is_regular(data[:length] + b"\xff\xd9") for length in range(last + 8))


def test_a_progressive_jpeg_without_one_of_its_scans_is_not_regular() -> None:
    starts = [*scans(PROGRESSIVE), len(PROGRESSIVE) - 2]
    assert len(starts) > 8
    for first, past in itertools.pairwise(starts):
        assert not is_regular(PROGRESSIVE[:first] + PROGRESSIVE[past:])
        assert not is_regular(PROGRESSIVE[:past] + PROGRESSIVE[first:])  # twice


def test_junk_between_segments_a_second_frame_and_a_marker_within_a_scan_are_not_regular() -> None:
    frame = BASELINE.index(b"\xff\xc0")
    segment = BASELINE[frame : frame + 19]
    for at in (2, frame, frame + 19):
        assert not is_regular(BASELINE[:at] + b"junk" + BASELINE[at:])
        assert not is_regular(BASELINE[:at] + b"\xff" + BASELINE[at:])  # a fill byte
    assert not is_regular(BASELINE[:frame] + segment + BASELINE[frame:])
    middle = scans(BASELINE)[0] + 40
    assert not is_regular(BASELINE[:middle] + b"\xff\xee\0\4ab" + BASELINE[middle:])
    assert not is_regular(BASELINE[:-2] + segment + BASELINE[-2:])


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6), st.sampled_from([BASELINE, PROGRESSIVE]))
def test_damage_is_regular_or_not_and_raises_nothing(changes: list[tuple[int, int]], data: bytes) -> None:
    damaged = bytearray(data)
    for at, value in changes:
        damaged[at % len(data)] = value
    assert is_regular(bytes(damaged)) in (True, False)


def test_passes_are_the_blocks_of_all_scans_together() -> None:
    grey = encode("L", (64, 48))
    assert passes(grey, read_frame(grey)) == 8 * 6
    colour = encode(subsampling=0)
    assert passes(colour, read_frame(colour)) == 3 * 8 * 6
    halved = encode()
    assert read_frame(halved).units() == [8 * 6, 4 * 3, 4 * 3]
    frame = read_frame(PROGRESSIVE)
    assert passes(PROGRESSIVE, frame) == 6 * 48 + 4 * 12 + 4 * 12  # Pillow's script: luma in six scans, chroma in four


def test_one_scan_holds_all_of_a_baseline_jpeg_only() -> None:
    assert read_frame(BASELINE).one_scan_holds_all
    assert not read_frame(PROGRESSIVE).one_scan_holds_all


def test_a_bare_jpeg_has_the_same_pixels_and_nothing_else() -> None:
    exif = Image.Exif()
    exif[0x010E] = "description"
    full = encode(exif=exif, icc_profile=b"p" * 70_000, comment=b"c")
    bare = bare_jpeg(full, read_frame(full))
    assert len(bare) < len(full) - 70_000
    assert b"Exif" not in bare
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(bare))), np.asarray(Image.open(io.BytesIO(full))))
    cmyk = encode("CMYK")  # which needs Adobe's marker to be read right
    bare = bare_jpeg(cmyk, read_frame(cmyk))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(bare))), np.asarray(Image.open(io.BytesIO(cmyk))))


@pytest.mark.skipif(not PHOTOS, reason="the shared photographs are not here")
def test_photographs_are_regular() -> None:
    assert [path.name for path in PHOTOS if not is_regular(path.read_bytes())] == []
