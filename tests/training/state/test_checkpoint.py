from __future__ import annotations

import os
from pathlib import Path

import keras
import numpy as np
import pytest

from imgstream.errors import OutputError, RunError
from imgstream.training.state.checkpoint import Checkpoints, latest, restore
from imgstream.training.step.weight_average import WeightAverage

IMAGES, LABELS = np.ones((4, 6), np.float32), np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]


def model(width: int = 5, optimizer: keras.optimizers.Optimizer | None = None) -> keras.Model:
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((6,)), keras.layers.Dense(width), keras.layers.Dropout(0.5), keras.layers.Dense(2)])
    network.compile(optimizer or keras.optimizers.SGD(0.1, momentum=0.9), keras.losses.CategoricalCrossentropy(from_logits=True))
    network.optimizer.build(network.trainable_variables)
    return network


def test_what_is_restored_goes_on_to_the_bit_dropout_and_momentum_too(tmp_path: Path) -> None:
    first = model()
    first.train_on_batch(IMAGES, LABELS)
    average = WeightAverage(first)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(first, average, None, {"step": 1})
    checkpoints.wait()
    for _ in range(3):
        first.train_on_batch(IMAGES, LABELS)
    second = model()
    state, best = restore(latest(tmp_path), second, WeightAverage(second))  # type: ignore[arg-type]
    assert (state, best) == ({"step": 1}, None)
    for _ in range(3):
        second.train_on_batch(IMAGES, LABELS)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    network, checkpoints = model(), Checkpoints(tmp_path)
    for step in (1, 2, 10):
        checkpoints.save(network, WeightAverage(network), None, {"step": step})
    checkpoints.wait()
    assert sorted(os.listdir(tmp_path)) == ["step-000000002.npz", "step-000000010.npz"]
    assert (latest(tmp_path), checkpoints.count) == (tmp_path / "step-000000010.npz", 3)


def test_what_training_does_meanwhile_is_not_in_it(tmp_path: Path) -> None:
    network, checkpoints = model(), Checkpoints(tmp_path)
    average, before = WeightAverage(network), network.get_weights()
    checkpoints.save(network, average, average.values, {"step": 1})
    network.train_on_batch(IMAGES, LABELS)
    average.values = [v + 1 for v in average.values]
    checkpoints.wait()
    again = model()
    averaged = WeightAverage(again)
    again.set_weights([w + 1 for w in again.get_weights()])
    restore(latest(tmp_path), again, averaged)  # type: ignore[arg-type]
    for a, b in zip(before, again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(averaged.values[0], before[0])


def test_a_checkpoint_that_cannot_be_written_is_told_by_the_next_one(tmp_path: Path) -> None:
    network, checkpoints = model(), Checkpoints(tmp_path / "gone")
    checkpoints.save(network, WeightAverage(network), None, {"step": 1})
    with pytest.raises(OutputError, match="step-000000001"):
        checkpoints.save(network, WeightAverage(network), None, {"step": 2})


def test_another_models_checkpoint_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    network, checkpoints = model(), Checkpoints(tmp_path)
    checkpoints.save(network, WeightAverage(network), None, {"step": 1})
    checkpoints.wait()
    other = model(width=7)
    with pytest.raises(RunError, match="another model"):
        restore(tmp_path / "step-000000001.npz", other, WeightAverage(other))
    (tmp_path / "step-000000002.npz").write_bytes(b"PK")
    with pytest.raises(RunError, match="cannot be used"):
        restore(tmp_path / "step-000000002.npz", network, WeightAverage(network))


def test_a_checkpoint_of_another_optimizer_is_told_to_be_of_another_version(tmp_path: Path) -> None:
    network, checkpoints = model(), Checkpoints(tmp_path)
    checkpoints.save(network, WeightAverage(network), None, {"step": 1})
    checkpoints.wait()
    other = model(optimizer=keras.optimizers.Adam())
    with pytest.raises(RunError, match=r"holds 11 variables where .* have 15: another version .* with another --out"):
        restore(tmp_path / "step-000000001.npz", other, WeightAverage(other))
