"""What all formats of exported models share."""

from __future__ import annotations

import abc
import contextlib
import os
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from imgstream.errors import ModelError
from imgstream.spec import LARGEST

Precision = Literal["float32", "float16", "int8"]
Chunk = tuple[int, np.ndarray]
"""Where a chunk of images begins in its batch, and the images, of the one shape that the model was prepared for."""

_CHUNKS_A_CORE = 2
_LARGEST_CHUNK = 32


class Runtime(abc.ABC):
    """A model's file, opened by the format's own runtime: one input, images; one output, a row of numbers for each.

    It computes in chunks of one size, the last filled up with zeros, so that an image's numbers do not depend on how full its batch was.
    """

    def __init__(self, path: Path, chunk: int, shape: Any, dtype: Any, outputs: Any, metadata: Mapping[str, str]) -> None:
        """`shape`, `outputs`: the sizes of the input and the output, as the file declares them, the first of each that of the batch.

        Raises ModelError when the file holds no model of images.
        """
        shape, outputs = tuple(shape), tuple(outputs)
        if len(shape) != 4 or not all(isinstance(n, int) and 0 < n <= LARGEST for n in shape[1:]) or shape[3] not in (1, 3):
            raise ModelError(f"{path} takes an input of {_sizes(shape)}; images are (batch, height, width, 3 or 1)")
        if len(outputs) != 2 or not isinstance(outputs[1], int) or outputs[1] < 1:
            raise ModelError(f"{path} gives an output of {_sizes(outputs)}; a classifier gives (batch, classes)")
        if np.dtype(dtype) not in (np.uint8, np.float32):
            raise ModelError(f"{path} takes {np.dtype(dtype)} images; they are uint8 or float32")
        self.path, self.chunk = path, chunk
        self.shape: tuple[int, int, int] = (shape[1], shape[2], shape[3])
        """(height, width, channels) of an image."""
        self.dtype = np.dtype(dtype)
        """uint8 or float32."""
        self.class_count: int = outputs[1]
        self.metadata = dict(metadata)
        """What was written into the file beside the model, by name."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(B, *shape) of `dtype` → float32 (B, class_count)."""
        out = np.empty((len(images), self.class_count), np.float32)
        self._run(self._chunks(images), out)
        return out

    @abc.abstractmethod
    def _run(self, chunks: Iterator[Chunk], out: np.ndarray) -> None:
        """Fill `out` with the outputs of all chunks; the last chunk may reach beyond it."""

    def _chunks(self, images: np.ndarray) -> Iterator[Chunk]:
        for at in range(0, len(images), self.chunk):
            part = np.ascontiguousarray(images[at : at + self.chunk], self.dtype)
            if len(part) < self.chunk:
                part = np.concatenate([part, np.zeros((self.chunk - len(part), *self.shape), self.dtype)])
            yield at, part


class Format(abc.ABC):
    """A format of models: how a Keras model is written in it, and how such a file is opened."""

    name: str
    title: str
    """As its makers write it."""
    ending: str
    """Of the file's name; empty for a folder."""
    extra: str
    """The extra of imgstream that brings `modules`; empty where they are always there."""
    modules: tuple[str, ...]
    """What writing and running it needs."""
    runs_on: tuple[str, ...]
    """What running alone needs: the last of them names the version."""

    precisions: tuple[Precision, ...] = ("float32", "float16", "int8")
    """In which it is written."""

    @abc.abstractmethod
    def write(self, model: Any, path: Path, precision: Precision, images: np.ndarray | None = None, in_float: Collection[int] = ()) -> None:
        """Write a Keras model of one input and one output to `path`. `images`, as the model takes them, (n, H, W, C): what int8 takes its
        ranges from; `in_float`: which of its int8.PARTS equal parts, from input to output, stay in float32. Raises ModelError.
        """

    @abc.abstractmethod
    def describe(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Put `metadata`, texts by name, into the model at `path`."""

    @abc.abstractmethod
    def open(self, path: Path, chunk: int = 1, threads: int = 1) -> Runtime:
        """Open the file at `path`, to be run on `chunk` images at a time. Raises ModelError when it is damaged, or holds something else."""

    def files(self, path: Path) -> list[Path]:
        """The files of the model at `path`; without the first it is no model."""
        return [path]

    def home(self, path: Path) -> Path:
        """The folder in which the first of the files lies, and others beside it may."""
        return path.parent


def signature_of(model: Any) -> list[Any]:
    """The input of a Keras model, named, as its `export` takes it."""
    import keras

    return [keras.InputSpec(dtype=model.inputs[0].dtype, shape=model.inputs[0].shape, name=model.inputs[0].name)]


def chunk_for(batch_size: int, threads: int) -> int:
    """Images at a time: small enough that a batch keeps `threads` threads busy to its end, 1 to 32."""
    return max(1, min(_LARGEST_CHUNK, batch_size // (_CHUNKS_A_CORE * threads)))


@contextlib.contextmanager
def converting(what: str) -> Iterator[None]:
    """Turn the errors of converters, of any kind, into ModelError, and hold back their warnings, which are about their own code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ModelError, OSError):  # what was said already, and what the disk refuses
        raise
    except Exception as error:
        raise ModelError(f"the model cannot be written as {what}: {_first_line(error)}") from error


@contextlib.contextmanager
def opening(path: Path, what: str) -> Iterator[None]:
    """Turn the errors of a runtime that opens `path` into ModelError."""
    if not os.path.exists(path):
        raise ModelError(f"there is no {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{path} cannot be opened as {what}: {_first_line(error)}. Was it copied whole?") from error


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]


def _sizes(shape: tuple[Any, ...]) -> str:
    return f"({', '.join('batch' if i == 0 else str(n) for i, n in enumerate(shape))})"
