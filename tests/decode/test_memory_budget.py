"""Large pictures are decoded by turns."""

from __future__ import annotations

import threading
import time

import pytest

from imgstream.decode.memory_budget import MemoryBudget


def test_what_is_held_at_once_never_exceeds_the_total() -> None:
    turns, held, most, lock = MemoryBudget(100), [0], [0], threading.Lock()

    def work(size: int) -> None:
        for _ in range(50):
            with turns.take(size):
                with lock:
                    held[0] += size
                    most[0] = max(most[0], held[0])
                time.sleep(0)
                with lock:
                    held[0] -= size

    threads = [threading.Thread(target=work, args=(size,)) for size in (10, 35, 60, 100, 45)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert 60 <= most[0] <= 100


def test_what_needs_more_than_there_is_gets_all_of_it() -> None:
    turns = MemoryBudget(100)
    with turns.take(1000):
        assert blocked(turns, 1)
    assert not blocked(turns, 100)


def test_a_large_one_is_not_passed_over_for_ever() -> None:
    turns = MemoryBudget(100)
    with turns.take(50):
        waiting = threading.Thread(target=lambda: turns.take(100).__enter__(), daemon=True)
        waiting.start()
        deadline = time.monotonic() + 10
        while not blocked(turns, 10) and time.monotonic() < deadline:  # there is room for it, but not before its turn
            time.sleep(0.01)
        assert blocked(turns, 10)


def test_an_error_gives_back_what_was_held() -> None:
    turns = MemoryBudget(100)
    with pytest.raises(ValueError, match="broken"), turns.take(100):
        raise ValueError("broken")
    assert not blocked(turns, 100)


def blocked(turns: MemoryBudget, size: int) -> bool:
    def take() -> None:
        with turns.take(size):
            pass

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    thread.join(0.3)
    return thread.is_alive()
