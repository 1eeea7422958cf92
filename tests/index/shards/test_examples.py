"""tf.train.Examples are read as TensorFlow reads them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgstream.index.shards.examples import features


class Everything:
    def __contains__(self, name: object) -> bool:
        return True


everything = Everything()
VALUES = st.one_of(
    st.lists(st.binary(max_size=300), max_size=3),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
    st.lists(st.floats(width=32), max_size=3),
)


@given(st.dictionaries(st.text(max_size=20), VALUES, max_size=5))
def test_the_first_value_of_each_feature_is_found(values: dict[str, list[bytes] | list[int] | list[float]]) -> None:
    import tensorflow as tf

    made = {}
    for name, some in values.items():
        if all(isinstance(value, bytes) for value in some):
            made[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=some))
        elif all(isinstance(value, int) for value in some):
            made[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=some))
        else:
            made[name] = tf.train.Feature(float_list=tf.train.FloatList(value=some))
    record = tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()
    found = {name: record[slice(*value)] if isinstance(value, tuple) else value for name, value in features(record, everything).items()}
    first = {name.encode(): some[0] if some and not isinstance(some[0], float) else None for name, some in values.items()}
    assert found == first


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(record: bytes) -> None:
    with contextlib.suppress(ValueError):
        for value in features(record, everything).values():
            assert value is None or isinstance(value, int) or 0 <= value[0] <= value[1] <= len(record)


def test_of_what_is_not_wanted_the_name_alone_is_found() -> None:
    record = b"\x0a\x12\x0a\x07\x0a\x01a\x12\x02\x0a\x00\x0a\x07\x0a\x01b\x12\x02\x1a\x00"
    assert features(record, [b"x"]) == {b"a": None, b"b": None}


def test_a_field_that_goes_on_behind_the_end_is_refused() -> None:
    for record in (b"\x0a\x05\x0a", b"\x0a\xff", b"\x0a" + b"\xff" * 11):
        with pytest.raises(ValueError, match="it "):
            features(record, everything)
