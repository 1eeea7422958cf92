"""Everything that training goes on from, in one file: whole or absent."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from imgstream.atomic import write_bytes
from imgstream.errors import RunError
from imgstream.training.averaging import WeightAverage

KEPT = 2


def save(folder: Path, model: Any, average: WeightAverage, best: list[np.ndarray] | None, state: dict[str, Any]) -> None:
    """Write step-N.npz: every variable of the model (Keras' seed generators too) and of its optimizer, the average, the best average
    so far, and the JSON-ready `state` with its "step". The last KEPT files stay. Raises OutputError.
    """
    arrays = {f"variable_{i}": _array(v) for i, v in enumerate(_variables(model))}
    arrays |= {f"average_{i}": v for i, v in enumerate(average.values)}
    arrays |= {f"best_{i}": v for i, v in enumerate(best or [])}
    buffer = io.BytesIO()
    np.savez(buffer, format=1, state=np.frombuffer(json.dumps(state).encode(), np.uint8), **arrays)  # type: ignore[arg-type]
    write_bytes(folder / f"step-{state['step']:09d}.npz", buffer.getvalue())
    for old in sorted(folder.glob("step-*.npz"))[:-KEPT]:
        with contextlib.suppress(OSError):
            old.unlink()


def latest(folder: Path) -> Path | None:
    """The newest checkpoint's file, or None."""
    return max(folder.glob("step-*.npz"), default=None)


def restore(file: Path, model: Any, average: WeightAverage) -> tuple[dict[str, Any], list[np.ndarray] | None]:
    """Put a checkpoint back into the model, its optimizer and the average; returns (state, best). Raises RunError if it does not fit."""
    try:
        with np.load(file, allow_pickle=False) as data:
            state = json.loads(data["state"].tobytes())
            variables = _variables(model)
            values = [data[f"variable_{i}"] for i in range(len(variables))]
            if any(tuple(v.shape) != a.shape for v, a in zip(variables, values, strict=True)):
                raise RunError(f"{file} is of another model: resume with the options that the run was started with")
            best = [data[f"best_{i}"] for i in range(len(average.values))] if "best_0" in data else None
            averaged = [data[f"average_{i}"] for i in range(len(average.values))]
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"the checkpoint {file} cannot be used: {error}") from error
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    average.values = averaged
    return state, best


def _variables(model: Any) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def _array(variable: Any) -> np.ndarray:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(variable))
