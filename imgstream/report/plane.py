"""Features in two dimensions: by principal components at once, or by t-SNE of scikit-learn, which takes minutes and shows clusters."""

from __future__ import annotations

import importlib
from typing import Literal, get_args

import numpy as np

from imgstream.errors import OptionError

Projection = Literal["pca", "tsne"]
_CHUNK = 4_096
MOST_BY_TSNE = 5_000
"""Images that t-SNE places, at most: its time grows faster than they do."""


def check_projection(projection: str) -> None:
    """Raise OptionError for an unknown projection, and for one whose library is missing: to be called before anything is measured."""
    if projection not in get_args(Projection):
        raise OptionError(f"projection must be one of {', '.join(get_args(Projection))}; got {projection!r}", "projection")
    if projection == "tsne":
        try:
            importlib.import_module("sklearn.manifold")
        except ImportError as error:
            raise OptionError(
                f"projection tsne needs scikit-learn ({error}): pip install 'imgstream[report]', or take pca", "projection"
            ) from error


def plane_of(features: np.ndarray, projection: Projection) -> np.ndarray:
    """float32 (m, D) features → float32 (m, 2), or fewer rows, the first MOST_BY_TSNE, by t-SNE."""
    if projection == "pca" or len(features) < 4:
        return principal_plane(features)
    manifold = importlib.import_module("sklearn.manifold")
    some = _finite(features[:MOST_BY_TSNE])
    made = manifold.TSNE(init="pca", random_state=0, perplexity=min(30.0, (len(some) - 1) / 3))
    return np.asarray(made.fit_transform(some), np.float32)


def principal_plane(features: np.ndarray) -> np.ndarray:
    """Principal component analysis: float32 (m, D) features → float32 (m, 2), their coordinates on the two axes of most variance."""
    if len(features) < 2 or not features.shape[1]:
        return np.zeros((len(features), 2), np.float32)
    chunks = [slice(start, start + _CHUNK) for start in range(0, len(features), _CHUNK)]  # of a file: all at once are hundreds of MB
    finite = np.concatenate([np.isfinite(features[each]).all(axis=1) for each in chunks])
    mean = np.zeros(features.shape[1])
    for each in chunks:
        mean += features[each][finite[each]].sum(axis=0, dtype=np.float64) / max(1, int(finite.sum()))
    covariance = np.zeros((len(mean), len(mean)))
    for each in chunks:
        centred = features[each][finite[each]] - mean.astype(np.float32)
        covariance += centred.T @ centred
    axes = np.linalg.eigh(covariance)[1][:, :-3:-1].astype(np.float32)
    plane = np.zeros((len(features), axes.shape[1]), np.float32)  # an image with a feature that is no number lies in the middle
    for each in chunks:
        plane[each][finite[each]] = (features[each][finite[each]] - mean.astype(np.float32)) @ axes
    if plane.shape[1] < 2:
        plane = np.concatenate([plane, np.zeros_like(plane)], axis=1)
    return plane


def _finite(features: np.ndarray) -> np.ndarray:
    """A copy in which an image with a feature that is no number has the mean of the others."""
    finite = np.isfinite(features).all(axis=1)
    mean = features[finite].mean(axis=0, dtype=np.float64) if finite.any() else np.zeros(features.shape[1])
    return np.where(finite[:, None], features, mean.astype(np.float32))
