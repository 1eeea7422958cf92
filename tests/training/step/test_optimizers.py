from __future__ import annotations

import keras
import numpy as np
import pytest

from imgstream.training.step.optimizers import MUON_RATE, SGD_RATE, new_optimizer, peak_learning_rate

RNG = np.random.default_rng(0)


def step(optimizer: keras.optimizers.Optimizer, shape: tuple[int, ...], gradient: np.ndarray, name: str = "kernel") -> np.ndarray:
    """What one step at a rate of 0.01 takes off a variable of zeros: nothing for its decay to work on."""
    variable = keras.Variable(np.zeros(shape, np.float32), name=name)
    optimizer.learning_rate = 0.01
    optimizer.build([variable])
    optimizer.apply([keras.ops.convert_to_tensor(gradient.reshape(shape).astype(np.float32))])
    return -keras.ops.convert_to_numpy(variable.value)


def test_rates_grow_linearly_with_the_batch_for_sgd_and_with_its_root_for_muon() -> None:
    assert peak_learning_rate(64, is_transfer=False) == MUON_RATE
    assert peak_learning_rate(16, is_transfer=False) == MUON_RATE / 2
    assert peak_learning_rate(16, is_transfer=True) == SGD_RATE / 4


def test_a_convolutions_kernel_takes_the_step_that_keras_muon_takes_for_its_matrix() -> None:
    gradient = RNG.normal(size=(3 * 3 * 8, 16))
    keras_own = keras.optimizers.Muon(ns_steps=3, weight_decay=0.0, adam_weight_decay=0.0)
    expected = step(keras_own, (72, 16), gradient)
    found = step(new_optimizer("float32"), (3, 3, 8, 16), gradient)
    np.testing.assert_allclose(found.reshape(72, 16), expected, rtol=1e-4, atol=1e-8)


def test_in_bfloat16_the_step_points_the_same_way() -> None:
    gradient = RNG.normal(size=(3, 3, 8, 16))
    exact, rough = (step(new_optimizer(policy), (3, 3, 8, 16), gradient).ravel() for policy in ("float32", "mixed_bfloat16"))
    assert 0.995 < exact @ rough / np.linalg.norm(exact) / np.linalg.norm(rough) < 0.999999
    assert np.linalg.norm(rough) == pytest.approx(np.linalg.norm(exact), rel=0.03)


@pytest.mark.parametrize(
    ("shape", "name"),
    [((3, 3, 32, 1), "kernel"), ((16, 10), "logits"), ((1, 1, 16, 10), "logits"), ((16,), "gamma")],
    ids=["depthwise", "head", "convolutional head", "scale"],
)
def test_what_is_no_matrix_to_orthogonalise_takes_a_step_of_adam(shape: tuple[int, ...], name: str) -> None:
    gradient = RNG.choice([-1, 1], size=shape) * RNG.uniform(0.1, 10, size=shape)
    np.testing.assert_allclose(step(new_optimizer("float32"), shape, gradient, name), 0.01 * np.sign(gradient), rtol=1e-3)


def test_weights_decay_but_scales_and_biases_do_not() -> None:
    kernel, gamma = (keras.Variable(np.ones(shape, np.float32), name=name) for shape, name in (((3, 3, 4, 4), "kernel"), ((4,), "gamma")))
    optimizer = new_optimizer("float32")
    optimizer.learning_rate = 0.1
    optimizer.build([kernel, gamma])
    optimizer.apply([keras.ops.zeros(kernel.shape), keras.ops.zeros(gamma.shape)])
    np.testing.assert_allclose(kernel.numpy(), 1 - 0.1 * 0.05, rtol=1e-6)
    np.testing.assert_array_equal(gamma.numpy(), 1)


def test_a_backbone_learns_at_its_share_of_the_rate() -> None:
    gradient = RNG.normal(size=(4, 2))
    whole, tenth = (step(new_optimizer("float32", [share]), (4, 2), gradient) for share in (1.0, 0.1))
    np.testing.assert_allclose(tenth, 0.1 * whole, rtol=1e-6)
    assert np.abs(whole).min() > 0
