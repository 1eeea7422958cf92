from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import imgstream as ims
from imgstream.cluster.connection import Cluster
from imgstream.cluster.embedding import EmbeddingJob, embed_on
from imgstream.cluster.pool import Pool
from imgstream.index import ImageIndex

pytestmark = pytest.mark.slow


def test_features_from_the_cluster_are_those_of_this_process_in_the_order_of_the_index(
    cluster: Cluster, trained: Path, two_classes: Path, tmp_path: Path
) -> None:
    (tmp_path / "no image.jpg").write_bytes(b"<html>")
    paths = sorted(map(str, two_classes.rglob("*.jpg")))
    index = ImageIndex.from_paths([*paths * 8, str(tmp_path / "no image.jpg"), *paths])
    run = ims.load_run(trained)
    job = EmbeddingJob.of(run.body, run.spec, pipeline="python", engine="keras", workers=None)
    with Pool(cluster, job, index) as pool:
        rows = list(embed_on(pool, job, index))
    expected = list(run.embed(index, batch_size=job.batch_size))
    assert [row.path for row in rows] == [row.path for row in expected]
    assert [(at, row.error) for at, row in enumerate(rows) if row.error] == [(320, expected[320].error)]
    for row, same in zip(rows, expected, strict=True):
        assert row.features is None or np.array_equal(row.features, same.features)
