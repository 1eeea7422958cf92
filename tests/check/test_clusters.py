from __future__ import annotations

import numpy as np

from imgstream.check.clusters import Clusters, Links


def test_links_lead_to_the_lowest_row_of_their_cluster() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 500, (2, 300))
    lowest = list(range(500))
    for _ in range(500):
        for a, b in zip(first, second, strict=True):
            lowest[a] = lowest[b] = min(lowest[a], lowest[b])
    links = Links(np.arange(500, dtype=np.uint32))
    for part in (slice(0, 100), slice(100, 300)):
        links.add(first[part], second[part])
    assert links.roots().tolist() == lowest
    assert links.roots_of(np.array([7, 499])).tolist() == [lowest[7], lowest[499]]


def test_a_long_chain_is_one_cluster() -> None:
    order = np.random.default_rng(1).permutation(10_000)
    links = Links(np.arange(10_000, dtype=np.uint32))
    links.add(order[:-1], order[1:])
    assert not links.roots().any()


def test_clusters_come_in_the_order_of_their_first_rows_and_leave_out_rows_alone() -> None:
    clusters = Clusters(np.array([0, 1, 0, 3, 1, 1, 6], np.uint32))
    assert [rows.tolist() for rows in clusters] == [[0, 2], [1, 4, 5]]
    assert clusters.where(np.array([7, 0, 7, 0, 1, -1, 0])).tolist() == [1]
    assert clusters.where(np.array([7, -1, -1, 0, 2, -1, 0])).tolist() == []


def test_without_links_there_are_no_clusters() -> None:
    links = Links(np.arange(5, dtype=np.uint32))
    links.add(np.empty(0, np.uint32), np.empty(0, np.uint32))
    clusters = Clusters(links.roots())
    assert len(clusters) == 0
    assert clusters.where(np.arange(5)).tolist() == []
