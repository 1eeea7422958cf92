from __future__ import annotations

import dataclasses

import keras
import pytest

from imgstream.errors import ModelError
from imgstream.models import build_model
from imgstream.training.memory.plan import Footprint, MemoryPlan, forward_bytes, plan, training_bytes

FOOTPRINT = Footprint(
    fixed=300e6, sample=100_000, full_sample=100_000, values=25_000, activations=5e6, forward=1e6, workers=2, ahead=4
)  # some network of 96 pixels


def small_network(policy: str = "float32", side: int | None = 8) -> keras.Model:
    """(8, 8, 3) → convolution (8, 8, 4) → normalisation → relu → sum over two branches → pooled (4,) → 2."""
    inputs = keras.Input((side, side, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", dtype=policy)(inputs)
    y = keras.layers.Activation("relu", dtype=policy)(keras.layers.BatchNormalization(dtype=policy)(x))
    z = keras.layers.GlobalAveragePooling2D(dtype=policy)(keras.layers.Add(dtype=policy)([x, y]))
    return keras.Model(inputs, keras.layers.Dense(2, dtype="float32")(z))


BIG, IMAGE = 8 * 8 * 4, 8 * 8 * 3  # numbers in an output


def test_training_takes_the_outputs_of_all_layers_each_in_its_own_precision() -> None:
    assert training_bytes(small_network(), (8, 8, 3)) == 4 * (IMAGE + 4 * BIG + 4 + 2)
    assert training_bytes(small_network("mixed_bfloat16"), (8, 8, 3)) == 4 * IMAGE + 2 * (4 * BIG + 4) + 4 * 2


def test_a_forward_pass_takes_what_is_alive_at_once() -> None:
    # At the normalisation: the convolution's output, which the sum takes too, the normalisation's, and one more while it computes.
    assert forward_bytes(small_network(), (8, 8, 3)) == 4 * 3 * BIG


def test_a_network_for_any_size_takes_what_it_takes_at_the_given_one() -> None:
    of_any, fixed = build_model("cnn", (None, None, 3), 2), build_model("cnn", (64, 48, 3), 2)
    for measure in (training_bytes, forward_bytes):
        assert measure(of_any, (64, 48, 3)) == measure(fixed, (64, 48, 3))
    assert training_bytes(of_any, (128, 96, 3)) == pytest.approx(4 * training_bytes(of_any, (64, 48, 3)), rel=0.01)


def test_the_layers_of_a_model_within_a_model_count() -> None:
    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 1), keras.layers.Conv2D(5, 1)])
    inputs = keras.Input((8, 8, 3))
    outer = keras.Model(inputs, keras.layers.Flatten()(inner(inputs)))
    assert training_bytes(outer, (8, 8, 3)) >= 4 * 64 * (3 + 4 + 5 + 5)


def test_the_expectation_is_the_fixed_part_and_what_training_and_validation_take() -> None:
    in_loaders = 100_000 * (64 * 5 + 32 * 5)
    assert FOOTPRINT.expected(64, 32) == round(1.05 * (300e6 + 1.06 * (in_loaders + 64 * 5e6 + 32 * 1e6)))
    in_loaders = 100_000 * (1 * 8 + 128 * 5)
    assert FOOTPRINT.expected(1, 128) == round(1.05 * (300e6 + 1.06 * (in_loaders + 1 * 5e6 + 128 * 1e6)))


def test_a_footprint_grows_with_the_sample_and_not_on_a_gpu() -> None:
    served, trained = small_network(), small_network("mixed_bfloat16")
    here = Footprint.of(trained, served, (8, 8, 3), small=(4, 4), workers=2, baseline=10**8)
    assert (here.full_sample, here.sample) == (IMAGE, IMAGE + 48)
    of_floats = Footprint.of(trained, served, (8, 8, 3), small=(4, 4), workers=2, baseline=10**8, pipeline="tf")
    assert (of_floats.full_sample, of_floats.sample) == (4 * IMAGE, 4 * (IMAGE + 48))
    assert here.fixed > 10**8
    assert here.activations > 0
    there = Footprint.of(trained, served, (8, 8, 3), workers=2, baseline=10**8, on_gpu=True)
    assert (there.activations, there.forward) == (0, 0)


def test_the_largest_batches_are_taken_that_fit_under_the_ceiling() -> None:
    for batch, validation in ((64, 128), (48, 32), (16, 8), (2, 1)):
        needed = FOOTPRINT.expected(batch, validation)
        assert plan(FOOTPRINT, ceiling=needed) == MemoryPlan(batch, validation, needed, needed)
    assert plan(FOOTPRINT, ceiling=10**12).batch_size == 64


def test_validation_takes_smaller_batches_before_training_does() -> None:
    ceiling = FOOTPRINT.expected(64, 8)
    assert ceiling < FOOTPRINT.expected(64, 16)
    assert (plan(FOOTPRINT, ceiling=ceiling).batch_size, plan(FOOTPRINT, ceiling=ceiling).validation_batch) == (64, 8)


def test_a_batch_size_that_was_asked_for_is_kept_or_refused() -> None:
    assert plan(FOOTPRINT, ceiling=10**12, batch_size=100).batch_size == 100
    ceiling = FOOTPRINT.expected(24, 1)
    with pytest.raises(ModelError, match=r"with batches of 64, and --memory gives \d+ MB: --batch-size 24 fits"):
        plan(FOOTPRINT, ceiling=ceiling, batch_size=64)


def test_a_resumed_run_validates_in_the_batches_that_it_had_where_they_fit() -> None:
    assert plan(FOOTPRINT, ceiling=10**12, validation_batch=16).validation_batch == 16
    ceiling = FOOTPRINT.expected(64, 8)
    kept = plan(FOOTPRINT, ceiling=ceiling, batch_size=64, validation_batch=128)
    assert (kept.batch_size, kept.validation_batch) == (64, 8)


def test_what_cannot_fit_is_refused_with_the_least_that_would_do() -> None:
    with pytest.raises(ModelError, match=r"--memory gives 100 MB: the least that would do is (\d+) MB, with batches of 1\.") as caught:
        plan(FOOTPRINT, ceiling=100_000_000)
    least = int(str(caught.value).split("would do is ")[1].split(" MB")[0].replace(",", "")) * 10**6
    assert plan(FOOTPRINT, ceiling=least).batch_size == 1
    with pytest.raises(ModelError, match="would do"):
        plan(FOOTPRINT, ceiling=least - 10**6)


def test_without_a_ceiling_a_tenth_of_the_machine_is_kept_free() -> None:
    needed = FOOTPRINT.expected(32, 1)
    assert plan(FOOTPRINT, machine=round(needed / 0.9) + 10).batch_size == 32
    assert plan(FOOTPRINT, machine=needed).batch_size < 32
    with pytest.raises(ModelError, match="this machine, or its container, has room for 90 MB"):
        plan(FOOTPRINT, machine=100_000_000)


def test_the_plan_says_what_it_expects_in_megabytes() -> None:
    told = str(MemoryPlan(64, 128, 1_234_567_890, 2_000_000_000))
    assert told == "batches of 64, validation of 128, about 1,235 MB of 2,000 MB"
    assert dataclasses.replace(MemoryPlan(1, 1, 10**6, None)).limit_bytes is None
