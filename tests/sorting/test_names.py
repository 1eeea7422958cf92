from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgstream.sorting.names import folder_name, numbered

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows forbids more")


@pytest.mark.parametrize(
    ("label", "folder"),
    [
        ("cat", "cat"),
        ("Öhrchen 100%", "Öhrchen 100%"),
        ("unsure", "unsure"),
        ("unreadable", "%75nreadable"),
        ("__MACOSX", "%5F_MACOSX"),
        ("", "%"),
        ("%", "%25"),
        (".", "%2E"),
        ("..", "%2E."),
        ("../../etc", "%2E.%2F..%2Fetc"),
        ("a\0b", "a%00b"),
        ("a%2Fb", "a%252Fb"),
    ],
)
def test_a_label_is_its_folder_wherever_it_can_be(label: str, folder: str) -> None:
    assert folder_name(label) == folder.encode()


labels = st.text(st.sampled_from("./%2F5\0aé") | st.characters(codec="utf-8"), max_size=8) | st.text("ä", min_size=120, max_size=200)


@given(st.sets(labels, max_size=20))
def test_different_labels_have_different_folders_that_can_be(some: set[str]) -> None:
    folders = {folder_name(label) for label in some}
    assert len(folders) == len(some)
    for folder in folders:
        assert 0 < len(folder) <= 255
        assert not set(folder) & {0, ord("/")}
        assert not folder.startswith(b".")
        folder.decode()


def test_clashing_names_are_numbered_before_the_extension() -> None:
    assert [numbered(b"1.jpg", n) for n in (1, 2, 10)] == [b"1.jpg", b"1 (2).jpg", b"1 (10).jpg"]
    assert numbered(b"a.tar.\xff", 2) == b"a.tar (2).\xff"
    assert numbered(b"none", 2) == b"none (2)"
    assert numbered("é".encode() * 125 + b".jpg", 2) == "é".encode() * 123 + b" (2).jpg"


@given(st.binary(min_size=1, max_size=255), st.integers(2, 10**7))
def test_a_numbered_name_is_no_longer_than_a_name_may_be(name: bytes, number: int) -> None:
    assert len(numbered(name, number)) <= 255
    assert numbered(name, number) != numbered(name, number + 1)
