from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imgstream.cluster.connection import Cluster, connected
from imgstream.index import ImageIndex


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two workers of this machine; Ray takes some seconds to start."""
    pytest.importorskip("ray", reason="the extra ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", "local")  # a cluster that somebody else has started here is left alone
        with connected("ray", 2) as found:
            yield found


@pytest.fixture
def numbered(tmp_path: Path) -> ImageIndex:
    """Sixteen files that hold their numbers."""
    for i in range(16):
        (tmp_path / f"{i:02}.jpg").write_text(str(i))
    return ImageIndex.from_paths([f"{i:02}.jpg" for i in range(16)], root=tmp_path)
