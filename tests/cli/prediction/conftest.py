from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from imgstream.prediction.store import PredictionStore


@pytest.fixture
def stopped_after() -> Callable[[int], contextlib.AbstractContextManager[None]]:
    """Ctrl-C when so many batches have been recorded."""

    @contextlib.contextmanager
    def stopped(batches: int) -> Iterator[None]:
        numbers, record = itertools.count(), PredictionStore.record

        def interrupted(self: PredictionStore, *arguments: Any) -> None:
            if next(numbers) == batches:
                raise KeyboardInterrupt
            record(self, *arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PredictionStore, "record", interrupted)
            yield

    return stopped
