"""Checkpoints: everything that training resumes from in one file, written whole or not at all, while training goes on."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from imgstream.errors import RunError
from imgstream.files.atomic import atomic_file
from imgstream.training.step.weight_average import WeightAverage

KEPT = 2


class Checkpoints:
    """Writes step-N.npz into a folder, on its own thread. Training waits only for the copy of the arrays."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: threading.Thread | None = None
        self._error: BaseException | None = None
        self.pause = 0.0
        """The longest time that training has waited for a checkpoint, in seconds."""
        self.seconds = 0.0
        """How long writing the last one took, beside training."""
        self.count = 0

    @property
    def is_busy(self) -> bool:
        """Whether the last one is still being written."""
        return self._writer is not None and self._writer.is_alive()

    def save(self, model: Any, average: WeightAverage, best: list[np.ndarray] | None, state: dict[str, Any]) -> None:
        """Start to write every variable of the model (Keras' seed generators too) and of its optimizer, the average, the best average so
        far, and the JSON-ready `state` with its "step". Waits for the checkpoint before. The last KEPT files stay.

        Raises OutputError when the checkpoint before could not be written.
        """
        began = time.monotonic()
        self.wait()
        arrays = {f"variable_{i}": _array(v).copy() for i, v in enumerate(_variables(model))}
        arrays |= {f"average_{i}": v for i, v in enumerate(average.values)}
        arrays |= {f"best_{i}": v for i, v in enumerate(best or [])}  # replaced as a whole, never written to
        text = json.dumps(state | {_HAS_BEST: best is not None}).encode()  # recorded, so that damaged arrays are not taken for missing ones
        self._writer = threading.Thread(target=self._write, args=(int(state["step"]), text, arrays), name="checkpoint")
        self._writer.start()
        self.count += 1
        self.pause = max(self.pause, time.monotonic() - began)

    def wait(self) -> None:
        """Wait until everything is on the disk. Raises the error of the writing thread, mostly an OutputError."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _write(self, step: int, state: bytes, arrays: dict[str, np.ndarray]) -> None:
        began = time.monotonic()
        try:
            with atomic_file(self._folder / f"step-{step:09d}.npz") as file:
                np.savez(file, format=1, state=np.frombuffer(state, np.uint8), **arrays)  # type: ignore[arg-type]
            for old in _files(self._folder)[:-KEPT]:
                with contextlib.suppress(OSError):
                    old.unlink()
            self.seconds = time.monotonic() - began
        except BaseException as error:  # raised by wait(), so that a failed checkpoint is noticed
            self._error = error


_HAS_BEST = "has_best"


def latest(folder: Path) -> Path | None:
    """The newest checkpoint's file, or None."""
    return max(_files(folder), default=None)


def step_of(file: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(file.stem.removeprefix("step-"))


def restore(file: Path, model: Any, average: WeightAverage) -> tuple[dict[str, Any], list[np.ndarray] | None]:
    """Restore the model, its optimizer and the average from a checkpoint; return (state, best). Raises RunError if it does not fit."""
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as data:  # NumPy leaves a damaged file open
            state = json.loads(data["state"].tobytes())
            variables = _variables(model)
            held = sum(name.startswith("variable_") for name in data.files)
            if held != len(variables):  # such as those of another optimizer
                raise RunError(
                    f"{file} holds {held} variables where this model and its optimizer have {len(variables)}: another version of imgstream "
                    "or Keras wrote it. Resume with that version, or start anew with another --out"
                )
            values = [data[f"variable_{i}"] for i in range(len(variables))]
            if any(tuple(v.shape) != a.shape for v, a in zip(variables, values, strict=True)):
                raise RunError(f"{file} is of another model: resume with the options that the run was started with")
            best = [data[f"best_{i}"] for i in range(len(average.averages))] if state.pop(_HAS_BEST, "best_0" in data) else None
            averaged = [data[f"average_{i}"] for i in range(len(average.averages))]
    except RunError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds of errors
        raise RunError(f"the checkpoint {file} cannot be used: {error}. Delete it to go on from the one before it") from error
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    average.values = averaged
    return state, best


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.npz"))


def _variables(model: Any) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def _array(variable: Any) -> np.ndarray:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(variable))
