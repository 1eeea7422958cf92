"""How messages say numbers of things, choices, and names."""

from __future__ import annotations

from collections.abc import Iterable


def quantity(count: int, one: str, several: str | None = None) -> str:
    """A number with its noun: 1 image, 2,000 images. `several` is the plural of a noun that takes more than an s."""
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def either(choices: Iterable[str]) -> str:
    """Choices as a sentence lists them: .csv, .jsonl or .parquet."""
    *others, last = choices
    return f"{', '.join(others)} or {last}" if others else last


def printable(text: str) -> str:
    r"""`text` on one line and harmless: control characters, text-direction marks and surrogates as escapes such as \n and \x1b."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def amount(count: float) -> str:
    """A number of bytes as text, in units of 1,000, as --cache-limit takes them."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit in ("bytes", "kB") else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def innermost(error: BaseException) -> str:
    """What an error of Keras says at its heart, on one line: Keras wraps one message in another, each with the whole configuration."""
    text = str(error).rpartition("Exception encountered: ")[2]
    return " ".join(text.split("\n\n")[0].split())[:500] or type(error).__name__
