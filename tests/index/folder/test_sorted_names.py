import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgstream.index.folder import sorted_names

NAMES = st.lists(st.binary(min_size=1, max_size=40).map(lambda name: name.replace(b"\0", b"x")), max_size=60)


@given(names=NAMES, run=st.integers(1, 20))
def test_names_come_sorted_and_complete_however_many_runs_they_were_spilled_in(names: list[bytes], run: int) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryFile() as file:
        patch.setattr(sorted_names, "RUN_NAMES", run)
        first, second = (
            sorted_names.SortedNames(spool := sorted_names.Spool(file)),
            sorted_names.SortedNames(spool),
        )  # two that share a file, as the folders of a scan do
        for name in names:
            first.extend([name])
            second.extend([name[::-1]])
        assert list(zip(first, second, strict=True)) == list(zip(sorted(names), sorted(n[::-1] for n in names), strict=True))
        assert list(first) == sorted(names)
        assert len(first) == len(names)


def test_runs_longer_than_a_block_are_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorted_names, "RUN_NAMES", 1000)
    with tempfile.TemporaryFile() as file:
        names = sorted_names.SortedNames(sorted_names.Spool(file))
        for i in range(100_000):
            names.extend([b"%06d" % (i * 7919 % 100_000)])
        assert list(names) == [b"%06d" % i for i in range(100_000)]
