from __future__ import annotations

import keras
import numpy as np
import pytest

import imgstream as ims
from imgstream.training import TrainSettings, trial
from imgstream.training.step.compiled_models import Models, trained_model
from imgstream.training.step.replicas import Replicas

SPEC = ims.SampleSpec(size=(8, 8))


@pytest.fixture
def models() -> Models:
    inputs = keras.Input(SPEC.shape)
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(inputs))
    x = keras.layers.Dropout(0.5)(keras.layers.GlobalAveragePooling2D()(x))
    served = keras.Model(inputs, keras.layers.Dense(2, name="logits", dtype="float32")(x))
    return Models(trained_model(served, "float32", TrainSettings(), Replicas([])), served, "float32", "", Replicas([]), False)


def test_trying_batch_sizes_leaves_the_models_as_they_were_to_the_bit(models: Models) -> None:
    variables = [*models.trained.variables, *models.trained.optimizer.variables]
    before = [np.array(v) for v in variables]
    tried: list[str] = []
    assert trial.fastest_batch(models, SPEC, (2, 64), 60.0, tried.append) == 64  # a step is mostly what surrounds it
    assert tried == ["trying batches of 2", "trying batches of 64"]
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable), value)


@pytest.mark.parametrize(
    ("seconds", "compiling", "found"),
    [
        ({64: 0.1, 128: 0.1, 256: 0.1, 512: 0.1}, 1.0, 512),
        ({64: 0.1, 128: 0.1, 256: 0.19, 512: 0.1}, 1.0, 128),  # 5 % faster: not worth fewer steps
        ({64: 0.1, 128: 0.1, 256: None, 512: 0.1}, 1.0, 128),  # no room
        ({64: 0.1, 128: 0.1, 256: 0.1, 512: 0.1}, 5.0, 64),
    ],
)
def test_larger_batches_are_taken_as_long_as_they_are_faster_fit_and_compile_in_time(
    models: Models, monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float | None], compiling: float, found: int
) -> None:
    def steps(models: Models, spec: ims.SampleSpec, size: int) -> tuple[float, float]:
        each = seconds[size]
        if each is None:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 80 GiB")
        return each, compiling

    monkeypatch.setattr(trial, "_step_on_zeros", steps)
    assert trial.fastest_batch(models, SPEC, list(seconds), 4.0, lambda what: None) == found


def test_any_other_error_of_a_step_is_raised(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    def steps(*_: object) -> tuple[float, float]:
        raise RuntimeError("no kernel")

    monkeypatch.setattr(trial, "_step_on_zeros", steps)
    with pytest.raises(RuntimeError, match="no kernel"):
        trial.fastest_batch(models, SPEC, (64, 128), 4.0, lambda what: None)
