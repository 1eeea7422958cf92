"""An object as a file reads as the same bytes in memory do."""

from __future__ import annotations

import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bucket_server import BucketServer, Stored
from imgstream.errors import BadImage
from imgstream.files import objects
from imgstream.files.addresses import Address
from imgstream.files.object_file import ObjectFile, open_object

DATA = bytes(range(256)) * 4


@pytest.fixture
def address(bucket: BucketServer) -> Address:
    """An object of 1,024 bytes, as a listing has it."""
    bucket.buckets["photos"]["a"] = Stored(DATA)
    objects.require("s3://photos")
    found = objects.describe(Address(b"s3://photos/a"))
    return Address(b"s3://photos/a", found.size, found.modified)


STEP = st.tuples(st.sampled_from(["seek", "end", "by", "read"]), st.integers(-100, 1200))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEP, max_size=8), st.integers(1, 300))
def test_wherever_it_is_read_its_bytes_are_those_of_the_object(address: Address, steps: list[tuple[str, int]], buffering: int) -> None:
    file, expected = open_object(address, buffering), io.BytesIO(DATA)
    for what, number in steps:
        for each in (file, expected):
            if what == "seek":
                each.seek(max(0, number))
            elif what == "end":
                each.seek(-min(len(DATA), abs(number)), io.SEEK_END)
            elif what == "by":
                each.seek(abs(number), io.SEEK_CUR)
        if what == "read":
            assert file.read(number if number >= 0 else None) == expected.read(number if number >= 0 else None)
        assert file.tell() == expected.tell()


def test_parts_come_in_the_order_they_are_asked_for_many_at_a_time(bucket: BucketServer, address: Address) -> None:
    bucket.delay = 0.02
    starts = [900, 3, 1020, 5000, *range(100)]
    assert list(ObjectFile(address).parts(starts, 10)) == [DATA[start : start + 10] for start in starts]
    assert bucket.most_in_flight > 8


def test_another_version_than_was_listed_is_an_error(bucket: BucketServer, address: Address) -> None:
    file = open_object(address, 100)
    assert file.read(150) == DATA[:150]
    bucket.buckets["photos"]["a"] = Stored(DATA[::-1])
    with pytest.raises(BadImage, match="it was written again while it was listed"):
        file.read(200)
