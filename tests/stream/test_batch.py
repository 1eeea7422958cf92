"""A batch that is waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from imgstream.stream.batch import Request
from imgstream.stream.workers.open_batch import OpenBatch


def batch() -> OpenBatch:
    request = Request(0, 0, np.arange(2), np.arange(2), np.zeros(2, np.int32))
    return OpenBatch(request, np.zeros((2, 1, 1, 3), np.float32))


def test_no_python_code_waits_for_a_batch_where_ctrl_c_would_leave_a_lock_locked(
    entered: Callable[[Callable[[], object]], list[str]],
) -> None:
    waited_for = batch()
    later = threading.Timer(0.05, waited_for.settle, [0, [None, None]])
    later.start()
    assert entered(waited_for.wait) == ["OpenBatch.wait"]
    later.join()


def test_a_batch_that_was_given_up_twice_raises_the_last_error() -> None:
    given_up = batch()
    given_up.fail(ValueError("first"))
    given_up.fail(ValueError("last"))
    with pytest.raises(ValueError, match="last"):
        given_up.wait()
