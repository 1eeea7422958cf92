from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def on_jax(script: str, *arguments: str | Path) -> str:
    """What `script` prints in a new process, whose Keras computes with JAX."""
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


STEPS = """
import keras, numpy as np
from imgstream.spec import SampleSpec
from imgstream.training import TrainSettings
from imgstream.training.step.compiled_models import trained_model
from imgstream.training.step.step_selection import new_step
from imgstream.training.step.replicas import Replicas
from imgstream.training.step.weight_average import WeightAverage

assert keras.backend.backend() == "jax"
pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
images = np.empty(pixels.shape, np.float32)
spec = SampleSpec(size=(16, 16), scale="imagenet")
spec.to_float(pixels, images)
labels = np.eye(2, dtype="float32")[np.arange(8) % 2]
inputs = keras.Input((16, 16, 3))
x = keras.layers.ReLU()(keras.layers.Conv2D(8, 3)(inputs))
x = keras.layers.GlobalAveragePooling2D()(x)
served = keras.Model(inputs, keras.layers.Dense(2, name="logits", dtype="float32")(x))


def equal(a, b, **bounds):
    for each, other in zip(a, b, strict=True):
        np.testing.assert_allclose(each, other, **bounds)


ours, theirs = (trained_model(served, "float32", TrainSettings(), Replicas([])) for _ in range(2))
average = WeightAverage(ours)
step = new_step(ours, average, Replicas([]), 8, spec)
theirs.optimizer.learning_rate = 0.01
weights = np.linspace(0, 2, 8).astype("float32")
for count, of_step in ((8, None), (8, weights), (5, weights[:5]), (5, None)):  # the short ones are filled up
    before = average.values
    found = step(pixels[:count], labels[:count], of_step, rate=0.01, share=0.25)
    expected = theirs.train_on_batch(images[:count], labels[:count], sample_weight=of_step, return_dict=True)
    equal([found.loss, found.accuracy], [expected["loss"], expected["accuracy"]], rtol=1e-5)
    step.sync()
    equal(ours.get_weights(), theirs.get_weights(), atol=1e-5)
    equal(average.values, [a + 0.25 * (w - a) for a, w in zip(before, ours.get_weights())], atol=1e-6)
average.assign_to(served)
step(pixels, labels, None, rate=0.01, share=0.25)
served.predict_on_batch(images)  # its weights are its own
print("equal")
"""


@pytest.mark.slow
def test_a_step_is_the_one_that_keras_takes_for_short_batches_and_weights_too() -> None:
    assert on_jax(STEPS) == "equal"


TRAINING = """
import hashlib, os, signal, sys
import imgstream as ims

photos, out, stop_at = sys.argv[1], sys.argv[2], int(sys.argv[3])


def report(status):
    if status.step == stop_at:
        os.kill(os.getpid(), signal.SIGKILL)


import imgstream.models.cnn as cnn
cnn.WIDTHS = (8,)
options = {"size": (32, 32), "batch_size": 8, "epochs": 3, "augment": "light", "checkpoint_every": "3steps"}
run = ims.train(photos, out=out, resume=True, report=report, **options)
weights = b"".join(w.tobytes() for w in run.model.get_weights())
print(run.state["steps"], run.state["resumed_from_step"], run.metrics["images"], hashlib.sha256(weights).hexdigest())
"""


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_bits(two_classes: Path, tmp_path: Path) -> None:
    whole = on_jax(TRAINING, two_classes, tmp_path / "whole", "-1").split()
    with pytest.raises(AssertionError):
        on_jax(TRAINING, two_classes, tmp_path / "killed", "8")
    resumed = on_jax(TRAINING, two_classes, tmp_path / "killed", "-1").split()
    assert resumed[1] in ("3", "6")  # the last checkpoint, if it was written in time
    assert (whole[0], whole[2], whole[3]) == (resumed[0], resumed[2], resumed[3])
