from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from imgstream.export import export_run
from imgstream.runs import Run, load_run
from imgstream.runtimes import FORMATS
from imgstream.runtimes.packages import is_installed


def need(name: str) -> None:
    """Skip a test where the packages of a format are not installed."""
    if not is_installed(FORMATS[name].modules):
        pytest.skip(f"needs pip install 'imgstream[{FORMATS[name].extra}]'")


@pytest.fixture(scope="session")
def run(trained: Path) -> Run:
    return load_run(trained)


@pytest.fixture(scope="session")
def exported(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The path of the run's model in a format, by the format's name; everybody's: copy it before you change it."""
    made: dict[str, Path] = {}

    def in_format(name: str) -> Path:
        need(name)
        if name not in made:
            made[name] = export_run(run, tmp_path_factory.mktemp(name) / f"model{FORMATS[name].ending}", format=name).path
        return made[name]

    return in_format
