"""Faults for worker processes: a cache that, where it is unpickled, makes one function of that process raise. Imported by them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, NoReturn

from imgstream.cache import PixelCache

KINDS: dict[str, type[BaseException]] = {
    kind.__name__: kind for kind in (RuntimeError, MemoryError, OSError, ConnectionResetError, SystemExit, KeyboardInterrupt)
}


def owner(place: str) -> tuple[Any, str]:
    """Of "module:Class.function": the class, and the function's name."""
    module, _, names = place.partition(":")
    *names, last = names.split(".")  # type: ignore[assignment]
    found: Any = importlib.import_module(module)
    for name in names:
        found = getattr(found, name)
    return found, last


def raising(kind: str, place: str) -> Any:
    """A function that raises, whatever it is given."""

    def fail(*_: Any, **__: Any) -> NoReturn:
        raise KINDS[kind](f"injected into {place}")

    return fail


class InjectingCache(PixelCache):
    """A cache that carries a fault to worker processes."""

    def __init__(self, folder: Path, place: str, kind: str) -> None:
        super().__init__(folder)
        self.place, self.kind = place, kind

    def __reduce__(self) -> tuple[Any, ...]:
        return arrive, (self.folder, self.place, self.kind)


def arrive(folder: Path, place: str, kind: str) -> PixelCache:
    """What happens where it is unpickled."""
    if not place:
        raising(kind, "unpickling")()
    setattr(*owner(place), raising(kind, place))
    return PixelCache(folder)
