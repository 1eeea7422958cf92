import sys
from pathlib import Path

import pytest

from imgstream.errors import OutputError
from imgstream.files.locations import cache_folder


def test_imgstream_cache_overrides_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGSTREAM_CACHE", "mine")
    monkeypatch.setenv("XDG_CACHE_HOME", "/other")
    assert cache_folder() == tmp_path / "mine"


@pytest.mark.parametrize(
    ("platform", "xdg", "expected"),
    [
        ("linux", "/xdg", "/xdg/imgstream"),
        ("linux", "relative", "/home/me/.cache/imgstream"),
        ("linux", "", "/home/me/.cache/imgstream"),
        ("darwin", "/xdg", "/home/me/Library/Caches/imgstream"),
    ],
)
def test_each_system_has_its_own_place(monkeypatch: pytest.MonkeyPatch, platform: str, xdg: str, expected: str) -> None:
    monkeypatch.delenv("IMGSTREAM_CACHE", raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    assert cache_folder() == Path(expected)


def test_without_a_home_the_error_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("IMGSTREAM_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(OutputError, match="IMGSTREAM_CACHE"):
        cache_folder()
