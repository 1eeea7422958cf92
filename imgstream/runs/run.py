"""Run: a trained model with its spec, class names and metrics."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import math
import os
from collections.abc import Iterable, Iterator, Sized
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from imgstream.display import table
from imgstream.embedding.embed import Embedding, embed, embed_batches
from imgstream.errors import ModelError, RunError
from imgstream.evaluation.drift import Profile
from imgstream.evaluation.evaluate import Evaluation, Progress
from imgstream.evaluation.multi_label import LabelsEvaluation, evaluate_either
from imgstream.index import ImageIndex, Source, open_index
from imgstream.models import features
from imgstream.models.forward import Engine, Forward, Program
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

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from imgstream.report.measure import Measurement

BATCH_SIZE = 32


class Run:
    """A trained model, opened from its run folder: what `train` returns and `load_run` opens.

    ```python
    run = imgstream.load_run("runs/pets")
    for p in run.predict("new_photos/"):
        print(p.path, p.label, p.score, p.error)
    print(run.evaluate("holdout/").accuracy)
    ```

    Raises:
        RunError: The folder is no run folder, is damaged, or holds no model yet.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._last: tuple[Source | None, Measurement] | None = None
        self.state = folder.state()
        """The contents of run.json: state, fingerprint, plans, metrics, versions."""
        if not folder.model.exists():
            raise RunError(f"{folder.path} holds no model yet (state: {self.state.get('state')}). Go on with imgstream train … --resume")
        folder.check(self.state, "spec.json", "class_names.json")
        self.spec = SampleSpec.from_json(folder.read_json("spec.json"))
        """How a file becomes a sample."""
        self.class_names = _class_names(folder)
        """The names of the classes, in the order of the logits."""
        self.temperature = _temperature(self.state, folder)
        """Divisor of the logits before the softmax, fitted on validation images; 1.0 in a run that has none."""
        self.thresholds = _thresholds(self.state, folder, len(self.class_names))
        """Where an image may have several labels: from which score on it is taken for a class's, float32 (K,), chosen on validation images.
        None for one label an image.
        """

    def __repr__(self) -> str:
        return f"Run({os.fspath(self.folder.path)!r}, {len(self.class_names)} classes, {self.metrics})"

    @property
    def path(self) -> str:
        """The run folder."""
        return os.fspath(self.folder.path)

    @property
    def metrics(self) -> dict[str, Any]:
        """What training measured on its validation images: accuracy, loss, images."""
        return dict(self.state.get("metrics", {}))

    @cached_property
    def profile(self) -> Profile | None:
        """Statistics of the training and validation images; None in a run that has no profile. Raises RunError."""
        self.folder.check(self.state, "profile.json")
        return Profile.from_json(self.folder.read_json("profile.json")) if self.folder.profile.exists() else None

    @cached_property
    def model(self) -> Any:
        """The Keras model: float32 (B, *spec.shape) → logits float32 (B, K). It is checked against its golden samples when it is loaded.

        No code that the file names is run: docs/security.md.

        Raises:
            RunError: The model is damaged, names anything but Keras' own layers, or gives other logits than when it was saved.
        """
        self.folder.check(self.state, "model.keras", "golden.npz")
        if "files" not in self.state and self.state.get("fingerprint", self.fingerprint) != self.fingerprint:  # older runs have no digests
            raise RunError(f"{self.path} is not what it was when it was written: its model, spec, class names or temperature are others")
        try:
            model = load_whole(self.folder.model)
        except ModelError as error:
            raise RunError(str(error)) from error
        mixed = any(layer.dtype_policy.compute_dtype != "float32" for layer in model.layers)
        check_golden(self.folder.golden, self.spec, Forward(Program(model, self.spec), max(BATCH_SIZE, len(KINDS))), device(), mixed)
        return model

    @cached_property
    def body(self) -> Any:
        """The model without its last layer: float32 (B, *spec.shape) → features float32 (B, D). Raises as `model` does."""
        return features(self.model)

    @cached_property
    def program(self) -> Program:
        """The model's forward pass, compiled once: (B, *spec.shape) → logits (B, K). Raises as `model` does."""
        return Program(self.model, self.spec)

    @cached_property
    def body_program(self) -> Program:
        """The same of `body`: (B, *spec.shape) → features (B, D)."""
        return Program(self.body, self.spec)

    @cached_property
    def fingerprint(self) -> str:
        """Identifies what predictions depend on, as hex digits."""
        return self.folder.fingerprint(self.temperature, self.state.get("thresholds"))

    @property
    def member(self) -> Member:
        """The model with its spec, class names and temperature, as a Scorer takes it."""
        return Member(self.program, self.class_names, self.spec, self.temperature, self.thresholds)

    def stream(self, source: Source, *, batch_size: int = BATCH_SIZE, workers: int | None = None, pipeline: Pipeline = "python") -> Stream:
        """The images of `source` as this run's model takes them, in index order.

        Args:
            source: What imgstream.scan takes.
            batch_size: Images in a batch.
            workers: Threads; None for one for each CPU core.
            pipeline: "python" or "tf", as in Stream.
        """
        index = open_index(source, multi_label=self.thresholds is not None)
        return Stream(index, self.spec, batch_size=batch_size, workers=workers, pipeline=pipeline)

    def evaluate(
        self,
        source: Source,
        *,
        batch_size: int = BATCH_SIZE,
        workers: int | None = None,
        pipeline: Pipeline = "python",
        flip: bool = False,
        positive: str | None = None,
        engine: Engine | None = None,
        progress: Progress | bool | None = None,
    ) -> Evaluation | LabelsEvaluation:
        """Evaluate the model on labelled images. Classes are matched by name.

        On the images that the run was validated on, the calibration looks better than it is: the temperature was fitted to them.

        Args:
            source: A folder of class folders, a manifest, or an index.
            batch_size: Images in a batch.
            workers: Threads; None for one for each CPU core.
            pipeline: "python" or "tf", as in Stream.
            flip: Average the scores of each image with those of its mirror image: twice the work, and most often a little better.
            positive: Of a model of two classes: the class that ROC AUC, average precision and thresholds are of; None for the second.
            engine: What computes the model's logits in the place of Keras.
            progress: None shows progress on a terminal or in a notebook, False never, True everywhere; a function is called with the number
                of rows done.

        Returns:
            An Evaluation, with accuracy, loss, calibration and confusion matrix, and `binary` for a model of two classes; or where images
            may have several labels, a LabelsEvaluation, with mean average precision and F1.

        Raises:
            OptionError: `positive` is none of two classes.
            DatasetError: No class of `source` is one of the model's.
            NoImagesError: There are no images at `source`.
            RunError: The model cannot be loaded; see `model`.
        """
        stream = self._pixels(source, batch_size, workers, pipeline)
        computing = engine or self.program  # loaded before progress is shown
        shown = contextlib.nullcontext(progress) if callable(progress) else counting("Evaluating", stream.sample_count, progress)
        with shown as done:
            how: dict[str, Any] = {"temperature": self.temperature, "flip": flip, "positive": positive, "progress": done}
            return evaluate_either(computing, self.class_names, stream, self.thresholds, **how)

    def predict(
        self,
        source: Source | Iterable[np.ndarray],
        *,
        batch_size: int = BATCH_SIZE,
        workers: int | None = None,
        pipeline: Pipeline = "python",
        progress: bool | None = None,
    ) -> Iterator[Prediction]:
        """Predict every image, in index order, lazily and in constant memory; bad files too, with their reason.

        Args:
            source: A folder, a manifest, one file, an index, an iterable of paths, or images in memory: an array or iterable of uint8 (h,
                w), (h, w, 1), (h, w, 3) RGB or (h, w, 4) RGBA, whose paths are their numbers.
            batch_size: Images in a batch.
            workers: Threads; None for one for each CPU core.
            pipeline: "python" or "tf", as in Stream.
            progress: None shows progress on a terminal or in a notebook while a batch is waited for, False never, True everywhere.

        Returns:
            An iterator over one Prediction for each image.

        Raises:
            NoImagesError: There are no images at `source`.
            SpecError: An array is no image.
            RunError: The model cannot be loaded; see `model`.
        """
        arrays, files = _arrays(source)
        how: dict[str, Any] = {"batch_size": batch_size, "temperature": self.temperature, "thresholds": self.thresholds}
        if arrays is not None:
            batches = array_batches(arrays, self.spec, batch_size)
            waiting = Waiting("Predicting", len(arrays) if isinstance(arrays, Sized) else None, progress)
            how["ahead"] = 0  # images that are made as they are asked for, such as a camera's, are predicted at once
            return _shown(predict(self.program, self.class_names, batches, lambda at: b"%d" % at, waiting=waiting, **how), waiting)
        stream = self._pixels(files, batch_size, workers, pipeline)
        waiting, path_of = Waiting("Predicting", stream.sample_count, progress), stream.index.relative_bytes
        return _shown(predict(self.program, self.class_names, stream.traced_batches(), path_of, waiting=waiting, **how), waiting)

    def embed(
        self,
        source: Source | Iterable[np.ndarray],
        *,
        batch_size: int = BATCH_SIZE,
        workers: int | None = None,
        pipeline: Pipeline = "python",
    ) -> Iterator[Embedding]:
        """Compute the features of every image, in index order, lazily and in constant memory; bad files too, with their reason.

        Args:
            source: As in `predict`.
            batch_size: Images in a batch.
            workers: Threads; None for one for each CPU core.
            pipeline: "python" or "tf", as in Stream.

        Returns:
            An iterator over one Embedding for each image, with its path and features, float32 (D,).

        Raises:
            NoImagesError: There are no images at `source`.
            SpecError: An array is no image.
            RunError: The model cannot be loaded; see `model`.
        """
        arrays, files = _arrays(source)
        if arrays is not None:
            batches = array_batches(arrays, self.spec, batch_size)
            return embed_batches(self.body_program, batches, batch_size, lambda position: b"%d" % position, lambda position: None, ahead=0)
        return embed(self.body_program, self.spec, open_index(files), batch_size=batch_size, workers=workers, pipeline=pipeline)

    def _pixels(self, source: Any, batch_size: int, workers: int | None, pipeline: Pipeline) -> Stream:
        """The images of `source` in index order, as `program` takes them."""
        return self.stream(source, batch_size=batch_size, workers=workers, pipeline=pipeline).replace(dtype="uint8")

    def report(
        self,
        source: Source | None = None,
        out: str | os.PathLike[str] | None = None,
        *,
        root: str | os.PathLike[str] | None = None,
        corrections: str | os.PathLike[str] | None = None,
        workers: int | None = None,
        progress: bool | None = None,
        projection: Literal["pca", "tsne"] = "pca",
    ) -> str:
        """Write one page that shows the run: its data, training, quality and images, as a single file of HTML.

        ```python
        run.report()  # its own validation images, into the run folder
        run.report("holdout/", "holdout.html")
        ```

        Args:
            source: None for the images that the run was validated on; a folder, a manifest or an index, labelled or not; or a file of
                predictions.
            out: The page; None for report.html in the run folder.
            root: Of predictions: the folder that was predicted.
            corrections: A file of corrections, as the page makes them: applied to the labels of `source`.
            workers: Threads; None for one for each CPU core.
            progress: None shows progress on a terminal or in a notebook, False never, True everywhere.
            projection: How the map is made: "pca", at once, or "tsne", by scikit-learn (pip install 'imgstream[report]'), in minutes.

        Returns:
            The path of the page.

        Raises:
            NoImagesError: There are no images at `source`.
            DatasetError: `source` or `corrections` cannot be read.
            RunError: The model cannot be loaded; see `model`.
            OutputError: The page cannot be written.
        """
        from imgstream.runs.reporting import report_run  # here, as below: predicting needs no Matplotlib

        how: dict[str, Any] = {"root": root, "corrections": corrections, "workers": workers, "progress": progress, "projection": projection}
        return os.fspath(report_run(self, self.folder, source, out, **how))

    def plot_history(self) -> Figure:
        """Loss and accuracy by step, as a Matplotlib figure that notebooks show. Raises RunError for a run without a history."""
        from imgstream.runs import plots

        return plots.history(self.folder)

    def plot_confusion(self, source: Source | None = None) -> Figure:
        """The confusion matrix on `source`, or on the images that the run was validated on, as a Matplotlib figure.

        Raises as `report` does, and RunError when no image can be read.
        """
        from imgstream.runs import plots

        return plots.confusion(self._measured(source))

    def plot_map(self, source: Source | None = None, *, projection: Literal["pca", "tsne"] = "pca") -> Figure:
        """The features of the images in two dimensions, coloured by class; crosses are mistakes. `projection`: as in `report`. Raises as
        `plot_confusion` does.
        """
        from imgstream.runs import plots

        return plots.projection(self._measured(source), projection)

    def top_losses(self, n: int = 12, source: Source | None = None) -> Figure:
        """The `n` images with the highest loss, with label, prediction and loss, as a Matplotlib figure. Raises as `plot_confusion`
        does.
        """
        from imgstream.runs import plots

        return plots.top_losses(self, self._measured(source), n)

    def _measured(self, source: Source | None) -> Measurement:
        """Measured once, and again only for another source."""
        from imgstream.runs import plots

        if self._last is None or self._last[0] is not source:
            self._last = source, plots.measured(self, self.folder, source, None)
        return self._last[1]

    def _repr_html_(self) -> str:
        from imgstream.runs import plots

        return table(f"Run {self.path}", plots.facts(self))


def _shown(predictions: Iterator[Prediction], waiting: Waiting) -> Iterator[Prediction]:
    with contextlib.closing(waiting):
        yield from predictions


def _arrays(source: Any) -> tuple[Iterable[np.ndarray] | None, Any]:
    """The images in memory if `source` holds such, else None; and the source, of which nothing is used up."""
    if isinstance(source, np.ndarray):
        return source, source
    if isinstance(source, str | os.PathLike | ImageIndex):
        return None, source
    rest = iter(source)
    first = next(rest, None)
    whole = rest if first is None else itertools.chain([first], rest)
    return (whole, whole) if isinstance(first, np.ndarray) else (None, whole)


def load_run(path: str | os.PathLike[str]) -> Run:
    """Open the run folder at `path`.

    The model itself is loaded, and checked, when it is first used.

    Args:
        path: The run folder that train wrote.

    Returns:
        The run.

    Raises:
        RunError: It is no run folder, is damaged, or holds no model yet.
    """
    return Run(RunFolder(path))


def device() -> str:
    """The device that models compute on: "tensorflow cpu", "jax gpu", …. Golden samples are compared strictly only on the same device."""
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


def _thresholds(state: dict[str, Any], folder: RunFolder, classes: int) -> np.ndarray | None:
    if not folder.read_json("class_names.json").get("multi_label"):
        return None
    values = state.get("thresholds")
    if not isinstance(values, list) or len(values) != classes or not all(isinstance(v, int | float) and 0 <= v <= 1 for v in values):
        raise RunError(f"{folder.path}/run.json has no threshold from 0 to 1 for each class. Copy the whole folder again")
    return np.array(values, np.float32)


def _temperature(state: dict[str, Any], folder: RunFolder) -> float:
    value = state.get("temperature", 1.0)
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise RunError(f"{folder.path}/run.json has the temperature {value!r}: a number above 0 is needed. Copy the whole folder again")
    return float(value)
