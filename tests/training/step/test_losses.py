from __future__ import annotations

import keras
import numpy as np

from imgstream.training.step.losses import LabelsCrossentropy

LOGITS = np.array([[2.0, -1.0], [0.5, 3.0]], np.float32)
LABELS = np.array([[1, 0], [0, 1]], np.float32)


def value(loss: LabelsCrossentropy) -> float:
    return float(loss(keras.ops.convert_to_tensor(LABELS), keras.ops.convert_to_tensor(LOGITS)))


def test_the_binary_cross_entropies_of_the_classes_add_up() -> None:
    right = np.where(LABELS == 1, LOGITS, -LOGITS)
    np.testing.assert_allclose(value(LabelsCrossentropy()), np.log1p(np.exp(-right)).sum() / 2, rtol=1e-6)


def test_it_is_as_keras_has_it_smoothing_included() -> None:
    theirs = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1)  # a mean over the classes
    np.testing.assert_allclose(value(LabelsCrossentropy(0.1)), 2 * float(theirs(LABELS, LOGITS)), rtol=1e-6)


def test_a_weight_counts_where_an_image_is_of_the_class() -> None:
    gain = value(LabelsCrossentropy(positive_weights=np.array([3.0, 1.0], np.float32))) - value(LabelsCrossentropy())
    np.testing.assert_allclose(gain, 2 * np.log1p(np.exp(-2.0)) / 2, rtol=1e-5)
