from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from imgstream.training import TrainSettings
from imgstream.training.step.compiled_models import trained_model
from imgstream.training.step.replicas import Replicas

images = np.random.default_rng(0).normal(size=(7, 16, 16, 3)).astype("float32")
labels = np.eye(2, dtype="float32")[np.arange(7) % 2]
found = []
for replicas in (Replicas([]), Replicas(["CPU:0", "CPU:1"])):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, activation="relu")(inputs))
    served = keras.Model(inputs, keras.layers.Dense(2, name="logits", dtype="float32")(x))
    model = trained_model(served, "float32", TrainSettings(), replicas)
    model.optimizer.learning_rate = 0.1
    for weights in (None, np.arange(7, dtype="float32")):
        x, y, w = replicas.spread(images, labels, weights)
        loss = model.train_on_batch(x, y, sample_weight=w, return_dict=True)["loss"]
    found.append((len(replicas), float(loss), model.get_weights()))
assert [count for count, _, _ in found] == [1, 2], found
np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-5)
for a, b in zip(found[0][2], found[1][2]):
    np.testing.assert_allclose(a, b, atol=1e-6)
print("equal")
"""


@pytest.mark.slow
def test_two_devices_take_the_step_that_one_takes_short_batches_and_weights_too() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "equal", done.stderr[-3000:]


ON_JAX = """
import keras, numpy as np
import imgstream as ims
from imgstream.training import TrainSettings
from imgstream.training.step.compiled_models import trained_model
from imgstream.training.step.replicas import Replicas
from imgstream.training.step.step_selection import new_step
from imgstream.training.step.weight_average import WeightAverage

pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
labels = np.eye(2, dtype="float32")[np.arange(8) % 2]
found = []
for replicas in (Replicas([]), Replicas(["cpu:0", "cpu:1"])):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, use_bias=False)(inputs)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    served = keras.Model(inputs, keras.layers.Dense(2, name="logits", dtype="float32")(x))
    model = trained_model(served, "float32", TrainSettings(), replicas)
    with replicas.scope():
        average = WeightAverage(model)
    step = new_step(model, average, replicas, 8, ims.SampleSpec(size=(16, 16)))
    results = []
    for count, weights in ((8, None), (7, np.arange(7, dtype="float32")), (3, None)):
        result = step(pixels[:count], labels[:count], weights, rate=0.1, share=0.25)
        results += [result.loss, result.accuracy]
    step.sync()
    shards = {len(v.value.sharding.device_set) for v in model.trainable_variables}
    average.assign_to(served)
    served.predict_on_batch(pixels.astype("float32"))
    found.append((len(replicas), shards, results, [*model.get_weights(), *average.values]))
assert [count for count, *_ in found] == [1, 2], found
assert [shards for _, shards, *_ in found] == [{1}, {2}], found
np.testing.assert_allclose(found[0][2], found[1][2], rtol=1e-4)
for a, b in zip(found[0][3], found[1][3]):
    np.testing.assert_allclose(a, b, atol=2e-5)
print("equal")
"""


@pytest.mark.slow
def test_two_devices_of_jax_take_the_step_that_one_takes_with_the_statistics_of_the_whole_batch() -> None:
    pytest.importorskip("jax", reason="JAX is not installed")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run([sys.executable, "-c", ON_JAX], capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.strip() == "equal", done.stderr[-3000:]
