from __future__ import annotations

import sys

import numpy as np
import pytest

from imgstream.errors import OptionError
from imgstream.report.plane import check_projection, plane_of, principal_plane


def test_the_plane_of_most_variance_is_found_and_features_that_are_no_numbers_lie_in_its_middle() -> None:
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(200, 2)) * (10, 3)
    features = np.zeros((201, 6), np.float32)
    features[:200, [4, 1]] = plane
    features[200] = np.nan
    found = principal_plane(features)
    for axis, known in enumerate((plane[:, 0], plane[:, 1])):
        assert abs(np.corrcoef(found[:200, axis], known)[0, 1]) > 0.99
    assert found[200].tolist() == [0, 0]
    assert principal_plane(np.ones((1, 4), np.float32)).shape == (1, 2)
    assert principal_plane(np.ones((5, 1), np.float32)).shape == (5, 2)


@pytest.mark.slow
def test_tsne_keeps_groups_apart() -> None:
    pytest.importorskip("sklearn", reason="t-SNE needs imgstream[report]")
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(center, 1, (40, 8)) for center in (-20, 20)]).astype(np.float32)
    features[3, 3] = np.nan
    found = plane_of(features, "tsne")
    first, second = np.delete(found[:40], 3, axis=0), found[40:]
    across = np.linalg.norm(first.mean(axis=0) - second.mean(axis=0))
    assert found.shape == (80, 2)
    assert across > 2 * max(first.std(), second.std())


def test_a_projection_that_cannot_be_made_is_told_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(OptionError, match=r"pip install 'imgstream\[report\]'"):
        check_projection("tsne")
    with pytest.raises(OptionError, match="one of pca, tsne; got 'umap'"):
        check_projection("umap")
