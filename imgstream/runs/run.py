"""Run: a trained model with all that belongs to it."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import math
import os
from collections.abc import Iterable, Iterator, Sized
from functools import cached_property
from typing import Any

import numpy as np

from imgstream.embedding.embed import Embedding, embed, embed_batches
from imgstream.errors import ModelError, RunError
from imgstream.evaluation.drift import Profile
from imgstream.evaluation.evaluate import Evaluation, Progress, evaluate
from imgstream.index import ImageIndex, Source, open_index
from imgstream.models import features
from imgstream.models.forward import Forward
from imgstream.models.model_files import load_whole
from imgstream.prediction.arrays import array_batches
from imgstream.prediction.predict import predict
from imgstream.prediction.rows import Prediction
from imgstream.prediction.scorer import Member
from imgstream.progress import Waiting, counting
from imgstream.runs.folder import RunFolder
from imgstream.runs.golden import KINDS, check_golden
from imgstream.spec import SampleSpec
from imgstream.stream import Stream
from imgstream.stream.plan import Pipeline

BATCH_SIZE = 32


class Run:
    """What `train` gives and `load_run` opens: the model, how its samples are made, and what its numbers mean."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.state = folder.state()
        """run.json: state, fingerprint, plans, metrics, versions."""
        if not folder.model.exists():
            raise RunError(f"{folder.path} holds no model yet (state: {self.state.get('state')}). Go on with imgstream train … --resume")
        folder.check(self.state, "spec.json", "class_names.json")
        self.spec = SampleSpec.from_json(folder.read_json("spec.json"))
        """How a file becomes a sample."""
        self.class_names = _class_names(folder)
        """The meaning of each logit."""
        self.temperature = _temperature(self.state, folder)
        """What logits are divided by before the softmax, fitted on validation; 1.0 in a run that has none."""

    def __repr__(self) -> str:
        return f"Run({os.fspath(self.folder.path)!r}, {len(self.class_names)} classes, {self.metrics})"

    @property
    def path(self) -> str:
        """The run folder."""
        return os.fspath(self.folder.path)

    @property
    def metrics(self) -> dict[str, Any]:
        """What training measured on its validation part: accuracy, loss, images."""
        return dict(self.state.get("metrics", {}))

    @cached_property
    def profile(self) -> Profile | None:
        """What the images were like that it was trained and validated on; None in a run that has no profile. Raises RunError."""
        self.folder.check(self.state, "profile.json")
        return Profile.from_json(self.folder.read_json("profile.json")) if self.folder.profile.exists() else None

    @cached_property
    def model(self) -> Any:
        """The Keras model: float32 (B, *spec.shape) → logits float32 (B, K). Checked against its golden samples when it is loaded.

        Nothing that the file names is run: docs/security.md. Raises RunError when it is damaged, names anything but Keras' own layers, or
        gives other logits than it gave when it was saved.
        """
        self.folder.check(self.state, "model.keras", "golden.npz")
        if (
            "files" not in self.state and self.state.get("fingerprint", self.fingerprint) != self.fingerprint
        ):  # of before there were digests
            raise RunError(f"{self.path} is not what it was when it was written: its model, spec, class names or temperature are others")
        try:
            model = load_whole(self.folder.model)
        except ModelError as error:
            raise RunError(str(error)) from error
        mixed = any(layer.dtype_policy.compute_dtype != "float32" for layer in model.layers)
        check_golden(self.folder.golden, self.spec, Forward(model, max(BATCH_SIZE, len(KINDS))), device(), mixed)
        return model

    @cached_property
    def body(self) -> Any:
        """The model without its last layer: float32 (B, *spec.shape) → features float32 (B, D). Raises as `model` does."""
        return features(self.model)

    @cached_property
    def fingerprint(self) -> str:
        """What predictions depend on, as hex digits."""
        return self.folder.fingerprint(self.temperature)

    @property
    def member(self) -> Member:
        """The model with what belongs to it, as a Scorer takes it."""
        return Member(self.model, self.class_names, self.spec, self.temperature)

    def stream(self, source: Source, *, batch_size: int = BATCH_SIZE, workers: int | None = None, pipeline: Pipeline = "python") -> Stream:
        """The images of `source` as this run's model takes them, in index order."""
        return Stream(open_index(source), self.spec, batch_size=batch_size, workers=workers, pipeline=pipeline)

    def evaluate(
        self,
        source: Source,
        *,
        batch_size: int = BATCH_SIZE,
        workers: int | None = None,
        pipeline: Pipeline = "python",
        flip: bool = False,
        progress: Progress | bool | None = None,
    ) -> Evaluation:
        """Accuracy, loss, calibration and confusion on labelled images: a folder of class folders, or an index. Classes are matched by
        name. On the images that the run was validated on, calibration is flattered: the temperature was fitted to them.

        `pipeline`: as of Stream. With `flip`, an image's scores are the mean of its own and its mirror image's: twice the work, and most
        often a little better. `progress`: None shows it where a person looks, on a terminal or in a notebook; False never, True elsewhere
        too; a function is called with the rows done instead. Raises DatasetError when none of the folder's classes is the model's.
        """
        stream = self.stream(source, batch_size=batch_size, workers=workers, pipeline=pipeline)
        how: dict[str, Any] = {"temperature": self.temperature, "flip": flip}
        if callable(progress):
            return evaluate(self.model, self.class_names, stream, progress=progress, **how)
        model = self.model  # is loaded before anything is counted
        with counting("Evaluating", stream.sample_count, progress) as done:
            return evaluate(model, self.class_names, stream, progress=done, **how)

    def predict(
        self,
        source: Source | Iterable[np.ndarray],
        *,
        batch_size: int = BATCH_SIZE,
        workers: int | None = None,
        pipeline: Pipeline = "python",
        progress: bool | None = None,
    ) -> Iterator[Prediction]:
        """One Prediction for every image, in index order, lazily and in constant memory; bad files too, with their reason.

        `source`: a folder, a manifest, one file, an index, an iterable of paths, or images in memory: an array or iterable of uint8
        (h, w), (h, w, 3) RGB …, whose paths are their numbers. `pipeline`: as of Stream. `progress`: None shows it where a person looks,
        while a batch is waited for; False never, True elsewhere too. Raises SpecError for arrays that are no images.
        """
        arrays, files = _arrays(source)
        how: dict[str, Any] = {"batch_size": batch_size, "temperature": self.temperature}
        if arrays is not None:
            batches = array_batches(arrays, self.spec, batch_size)
            waiting = Waiting("Predicting", len(arrays) if isinstance(arrays, Sized) else None, progress)
            return _shown(
                predict(self.model, self.class_names, batches, lambda position: b"%d" % position, waiting=waiting, **how), waiting
            )
        stream = self.stream(files, batch_size=batch_size, workers=workers, pipeline=pipeline)
        waiting, batches, path_of = (
            Waiting("Predicting", stream.sample_count, progress),
            stream.traced_batches(),
            stream.index.relative_bytes,
        )
        return _shown(predict(self.model, self.class_names, batches, path_of, waiting=waiting, **how), waiting)

    def embed(
        self,
        source: Source | Iterable[np.ndarray],
        *,
        batch_size: int = BATCH_SIZE,
        workers: int | None = None,
        pipeline: Pipeline = "python",
    ) -> Iterator[Embedding]:
        """The path and features, float32 (D,), of every image, in index order, lazily and in constant memory; bad files too, with their
        reason. Takes what `predict` takes.
        """
        arrays, files = _arrays(source)
        if arrays is not None:
            batches = array_batches(arrays, self.spec, batch_size)
            return embed_batches(self.body, batches, batch_size, lambda position: b"%d" % position, lambda position: None)
        return embed(self.body, self.spec, open_index(files), batch_size=batch_size, workers=workers, pipeline=pipeline)


def _shown(predictions: Iterator[Prediction], waiting: Waiting) -> Iterator[Prediction]:
    with contextlib.closing(waiting):
        yield from predictions


def _arrays(source: Any) -> tuple[Iterable[np.ndarray] | None, Any]:
    """Images in memory, if that is what `source` holds; and the source, none of which is used up."""
    if isinstance(source, np.ndarray):
        return source, source
    if isinstance(source, str | os.PathLike | ImageIndex):
        return None, source
    rest = iter(source)
    first = next(rest, None)
    whole = rest if first is None else itertools.chain([first], rest)
    return (whole, whole) if isinstance(first, np.ndarray) else (None, whole)


def load_run(path: str | os.PathLike[str]) -> Run:
    """Open the run folder at `path`. The model itself is loaded, and checked, when it is first used. Raises RunError."""
    return Run(RunFolder(path))


def device() -> str:
    """What the model computes on: "tensorflow cpu", "jax gpu", …: golden samples are compared strictly on the same only."""
    import keras

    backend = keras.backend.backend()
    if backend == "torch":  # of which keras.distribution knows nothing
        on_gpu = importlib.import_module("torch").cuda.is_available()
    else:
        on_gpu = any(name.lower().startswith(("gpu", "cuda")) for name in keras.distribution.list_devices())
    return f"{backend} {'gpu' if on_gpu else 'cpu'}"


def _class_names(folder: RunFolder) -> list[str]:
    names = folder.read_json("class_names.json").get("class_names")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise RunError(f"{folder.path}/class_names.json has no list of names. Copy the whole folder again")
    return names


def _temperature(state: dict[str, Any], folder: RunFolder) -> float:
    value = state.get("temperature", 1.0)
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise RunError(f"{folder.path}/run.json has the temperature {value!r}: a number above 0 is needed. Copy the whole folder again")
    return float(value)
