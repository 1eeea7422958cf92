"""What TensorBoard gets beside the scalars of training: the options as hyperparameters, and pictures. With the TensorFlow backend only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from imgstream.runs.folder import RunFolder


def write_options(folder: RunFolder, settings: Mapping[str, Any]) -> None:
    """Record the options of a training, the contents of settings.json, as hyperparameters: one session for each run folder."""
    if not _is_read():
        return
    import tensorflow as tf
    from tensorboard.plugins.hparams import api

    values = {name: _plain(value) for name, value in settings.items() if value is not None and name != "format"}
    with tf.summary.create_file_writer(os.fspath(folder.tensorboard)).as_default():
        api.hparams(values, trial_id=folder.path.name)


def write_pictures(folder: RunFolder, pictures: Mapping[str, bytes], step: int) -> None:
    """Record pictures, name → PNG file, at a step."""
    if not _is_read():
        return
    import tensorflow as tf

    with tf.summary.create_file_writer(os.fspath(folder.tensorboard)).as_default():
        for name, png in pictures.items():
            tf.summary.image(name, tf.io.decode_png(png, channels=4)[None], step=step)


def _is_read() -> bool:
    import keras

    return bool(keras.backend.backend() == "tensorflow")


def _plain(value: Any) -> bool | float | int | str:
    if isinstance(value, dict) and "name" in value:
        return str(value["name"])
    return value if isinstance(value, bool | float | int | str) else str(value)
