from pathlib import Path

import pytest
from shard_files import WRITERS, Members


@pytest.fixture(scope="session")
def members(two_classes: Path) -> Members:
    """The images of two_classes, by name, in row order."""
    return {path.relative_to(two_classes).as_posix(): path.read_bytes() for path in sorted(two_classes.rglob("*.jpg"))}


@pytest.fixture(scope="module", params=WRITERS)
def packed(request: pytest.FixtureRequest, members: Members, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name, write = WRITERS[request.param]
    return write(tmp_path_factory.mktemp("packed") / name, members)
