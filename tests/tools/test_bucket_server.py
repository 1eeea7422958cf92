"""The server of buckets closes what it has opened."""

from __future__ import annotations

import gc
import socket
import warnings

from bucket_server import BucketServer


def test_a_server_that_is_stopped_while_clients_connect_leaves_no_connection_open() -> None:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", ResourceWarning)
        for _ in range(20):
            with BucketServer({}) as server:
                host, port = server.endpoint.removeprefix("http://").split(":")
                clients = [socket.create_connection((host, int(port))) for _ in range(20)]
            for client in clients:
                client.close()
        gc.collect()
    assert [str(warning.message) for warning in found] == []
