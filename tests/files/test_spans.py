"""Places inside other files are written down and read back whole."""

from __future__ import annotations

import pickle

import pytest

from imgstream.files.spans import Container, PackedPage, Span, array_form, page_form


@pytest.mark.parametrize(
    "kept", ["stored", "corrupt: declares 3×4 pixels", "corrupt: \udcff", page_form("zstd", 7, 8, 9), array_form((3, 4))]
)
def test_a_container_is_read_back_as_it_was(kept: str) -> None:
    container = Container(b"a b/\xff\n.tar", 5, 6, kept)
    assert Container.decode(container.encode()) == container


def test_a_detail_may_hold_anything() -> None:
    assert Container.decode(Container(b"x", 1, 2, "corrupt: a\0b").encode()).fault == ("corrupt", "a b")


def test_forms_say_what_they_are() -> None:
    container = Container(b"x", 1, 2)
    assert (container.fault, container.page, container.slice_form, container.is_packed) == (None, None, None, False)
    assert container._replace(kept=page_form("snappy", 1, 2, 3)).page == PackedPage("snappy", 1, 2, 3)
    assert container._replace(kept=array_form((5, 6, 3))).slice_form == ("|u1", (5, 6, 3))
    assert container._replace(kept=array_form((5, 6), "<f4")).slice_form == ("<f4", (5, 6))
    assert container._replace(kept="no reason: x").fault is None


def test_a_span_is_its_name_and_two_of_one_name_have_two_addresses() -> None:
    one, other = (Span(b"p.zip/a.jpg", Container(b"p.zip", 9, 9), at, 3) for at in (0, 5))
    assert one == other == b"p.zip/a.jpg"
    assert one.address != other.address
    again = pickle.loads(pickle.dumps([one]))[0]
    assert (again, again.address, again.region) == (one, one.address, (0, 3))
