"""The options of training."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from typing import Any

from imgstream.cache import DEFAULT_LIMIT, PixelCache
from imgstream.errors import OptionError, SpecError
from imgstream.spec import read_levels
from imgstream.stream.pipeline_selection import CHOICES

DEFAULT_EPOCHS = 20
FINE_TUNING_EPOCHS = 5
DEFAULT_BATCH_SIZE = 64
PRECISIONS = ("auto", "float32", "mixed")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The options of `imgstream train`; each is a keyword of imgstream.train. Raises OptionError for impossible values."""

    val: str | None = None
    """A folder of class folders to validate on; None holds out `val_share` of the training images, by the hash of their path."""
    val_share: float = 0.2
    """The share of images held out for validation, between 0 and 1, when there is no `val`."""
    group: str | None = None
    """Keep images that belong together on one side of the split: folder, column, a file, or a pattern; see imgstream.index.split.groups."""
    fold: str | None = None
    """"k/n": validate on the k-th of n parts, k from 1, instead of on `val_share`."""
    corrections: str | None = None
    """A file of corrections, as a report's page makes it, by which labels are put right."""
    exclude: str | None = None
    """A file of paths to leave out, as imgstream check --quarantine writes it."""
    root: str | None = None
    """The folder that a manifest's paths are relative to; None for the manifest's own folder."""
    columns: dict[str, str] | None = None
    """A manifest's columns: path, label, split, group and weight → name or number."""
    allow_outside: bool = False
    """Keep a manifest's paths that lead out of its root."""
    multi_label: bool = False
    """An image may have several labels: see imgstream.scan. Each class is then a decision of its own, with a threshold that is chosen on
    the validation images.
    """
    size: tuple[int, int] | None = None
    """(height, width) of a sample in pixels; None for the model's own."""
    fit: str = "crop"
    channels: int = 3
    levels: str | tuple[float, float] | None = None
    """(low, high) or "LOW:HIGH": the stored values that become black and white in files of more than 8 bits; "auto" takes them from a
    sample of the images; None reads 8 bits. See SampleSpec.levels.
    """
    model: str | None = None
    """cnn, a name of keras.applications, SqueezeNet, or a saved model or run, of which all but the last layer is taken; None for the model
    that `weights` belong to, or cnn.
    """
    weights: str = "none"
    """none, imagenet, or a file of weights to start from. With weights, a head is trained on frozen features first, then the whole model,
    its backbone at a lower learning rate.
    """
    head_only: bool = False
    """Train only the head: the backbone stays as it is, and training takes seconds once the features are computed."""
    features: str | None = None
    """With head_only: a file that `imgstream embed` wrote, to take the features from instead of computing them."""
    teacher: str | None = None
    """A run of the same classes, or several, with commas between, to learn from beside the labels: of several the mean counts."""
    teacher_weight: float = 0.9
    """The teacher's share in the loss, above 0 and up to 1; the rest is the labels'. 0.9, and the temperature, are those of Tian,
    Krishnan and Isola, "Contrastive representation distillation", 2020.
    """
    teacher_temperature: float = 4.0
    """What the logits of both are divided by, from 0.1 to 100: the higher, the more the classes count that are less likely."""
    augment: Any = "standard"
    augment_on: str = "cpu"
    """Where the images are augmented: cpu, one by one, by the threads that decode them; or device, by the batch, in the training step,
    which only layers of Keras can.
    """
    epochs: int | None = None
    """Passes over the training images; if `minutes` is not given either, DEFAULT_EPOCHS, or FINE_TUNING_EPOCHS with weights."""
    minutes: float | None = None
    """Wall time of the whole command, in minutes; the schedule is fitted to it."""
    batch_size: int | None = None
    """None for DEFAULT_BATCH_SIZE, or the largest below it that fits into the memory; on a GPU, with `minutes`, for the size up to 1,024
    whose steps take most images a second, if the images make 100 such batches.
    """
    learning_rate: float | None = None
    """The peak of the one-cycle schedule; None for the one that was measured to be best (imgstream.training.step.optimizers). A backbone
    with given weights learns at a tenth of it.
    """
    label_smoothing: float = 0.1
    balance: bool = False
    """Weight classes by the inverse of their frequency; with several labels an image, a class's own images by how many others there are."""
    patience: int | None = None
    """Stop after this many validations without a better one; None never does: a one-cycle schedule gains most at its end."""
    precision: str = "auto"
    """float32, mixed (bfloat16 or float16, with weights in float32), or auto: mixed where the processor has instructions for it."""
    memory: int | None = None
    """The most bytes of anonymous memory that the process may take; None for what the machine or its container has."""
    gpu_memory: int | None = None
    """The most bytes of each GPU's memory that the process may take; None for as much as it needs."""
    checkpoint_every: str = "2min"
    """How often a checkpoint is written, also within an epoch: "2min", "30s" or "200steps"."""
    pipeline: str = "auto"
    """What reads and decodes images: python, tf, or auto, the faster one; see stream.choose_pipeline."""
    cache: str = "off"
    """Where decoded images are kept, so that each is decoded once: off, auto (the user's cache folder), or a folder."""
    cache_limit: int = DEFAULT_LIMIT
    """The most bytes that the cache may take."""
    seed: int = 0
    workers: int | None = None
    label_pattern: str | None = None
    max_bad: float = 0.05
    """Stop when more than max(20, this share) of an epoch's files so far are bad."""

    def __post_init__(self) -> None:
        if self.epochs is not None and self.minutes is not None:
            raise OptionError("give either epochs or minutes: the one fixes the work, the other the time", "epochs", "minutes")
        for name, value, low, high in (
            ("epochs", self.epochs, 1, 1_000_000),
            ("minutes", self.minutes, 0.05, 1_000_000),
            ("batch_size", self.batch_size, 1, 65_536),
            ("learning_rate", self.learning_rate, 1e-8, 100),
            ("patience", self.patience, 1, 1_000_000),
            ("workers", self.workers, 1, 1024),
            ("cache_limit", self.cache_limit, 1, 10**18),
            ("memory", self.memory, 1, 10**18),
            ("gpu_memory", self.gpu_memory, 1, 10**18),
            ("label_smoothing", self.label_smoothing, 0, 0.9),
            ("max_bad", self.max_bad, 0, 1),
            ("teacher_weight", self.teacher_weight, 0.001, 1),
            ("teacher_temperature", self.teacher_temperature, 0.1, 100),
        ):
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                raise OptionError(f"{name} must be from {low} to {high}; got {value}", name)
        if self.levels not in (None, "auto"):  # text from here on, as settings.json has it
            levels = self.levels if isinstance(self.levels, str) else ":".join(map(str, self.levels))
            try:
                low, high = read_levels(levels)
            except SpecError as error:
                raise OptionError(str(error), "levels") from None
            object.__setattr__(self, "levels", ":".join(repr(level).removesuffix(".0") for level in (low, high)))
        _ = self.checkpoint_interval
        if self.precision not in PRECISIONS:
            raise OptionError(f"precision must be one of {', '.join(PRECISIONS)}; got {self.precision!r}", "precision")
        if self.features is not None and not self.head_only:
            raise OptionError("features are what a head alone is trained on: give head_only with them", "head_only")
        if self.teacher is not None and self.multi_label:
            raise OptionError("teacher and multi_label do not go together: a teacher gives an image one label", "teacher", "multi_label")
        of_teacher = ("teacher_weight", "teacher_temperature")
        if self.teacher is None and any(getattr(self, name) != getattr(type(self), name) for name in of_teacher):
            raise OptionError(f"{' and '.join(of_teacher)} go with a teacher, and there is none", *of_teacher)
        if self.teacher is not None and not self.teacher_runs:
            raise OptionError(f"teacher is a run, or several with commas between; got {self.teacher!r}", "teacher")
        if self.teacher is not None and self.head_only:
            raise OptionError("a teacher teaches in steps, and head_only takes none: give one of them", "teacher", "head_only")
        if self.augment_on not in ("cpu", "device"):
            raise OptionError(f"augment_on must be cpu or device; got {self.augment_on!r}", "augment_on")
        if self.augment_on == "device" and (self.teacher is not None or self.head_only):
            name = "teacher" if self.teacher is not None else "head_only"
            why = "a teacher has to see the images as they are augmented" if name == "teacher" else "head_only takes no steps to augment in"
            raise OptionError(f"{name} and augment_on device do not go together: {why}", name, "augment_on")
        if self.pipeline not in CHOICES:
            raise OptionError(f"pipeline must be one of {', '.join(CHOICES)}; got {self.pipeline!r}", "pipeline")
        if self.fold is not None:
            _ = self.fold_numbers
            if self.val is not None:
                raise OptionError("give either val, a folder to validate on, or fold, a part of the training images", "val", "fold")
        if not 0 < self.val_share < 1:
            raise OptionError(f"val_share must lie between 0 and 1; got {self.val_share}", "val_share")

    @property
    def fold_numbers(self) -> tuple[int, int] | None:
        """(k, n), k counted from 0; None without a fold. Raises OptionError for an impossible fold."""
        if self.fold is None:
            return None
        match = re.fullmatch(r"(\d{1,3})/(\d{1,3})", str(self.fold))
        if not match or not 1 <= int(match[1]) <= int(match[2]) or not 2 <= int(match[2]) <= 100:
            raise OptionError(f"fold is k/n, the k-th of n parts, such as 1/5; got {self.fold!r}", "fold")
        return int(match[1]) - 1, int(match[2])

    @property
    def teacher_runs(self) -> tuple[str, ...]:
        """The runs to learn from; () without a teacher."""
        if self.teacher is None:
            return ()
        text = os.fsdecode(self.teacher)
        return (text,) if os.path.exists(text) else tuple(path for path in text.split(",") if path)

    @property
    def planned_epochs(self) -> int | None:
        """The number of epochs; None with `minutes`."""
        if self.minutes is not None:
            return None
        return self.epochs or (DEFAULT_EPOCHS if self.weights == "none" else FINE_TUNING_EPOCHS)

    @property
    def checkpoint_interval(self) -> tuple[float, str]:
        """(number, "seconds" or "steps"). Raises OptionError when it is neither."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|sec|min|h|steps?)", self.checkpoint_every.strip())
        if not match or not float(match[1]):
            raise OptionError(
                f"checkpoint_every is a time or a number of steps, such as 2min, 30s or 200steps; got {self.checkpoint_every!r}",
                "checkpoint_every",
            )
        if match[2].startswith("step"):
            return float(match[1]), "steps"
        return float(match[1]) * {"s": 1, "sec": 1, "min": 60, "h": 3600}[match[2]], "seconds"

    def pixel_cache(self, size: tuple[int, int]) -> PixelCache | None:
        """The cache for samples of up to `size`, (height, width); None when it is off."""
        return None if self.cache == "off" else PixelCache(None if self.cache == "auto" else self.cache, self.cache_limit, size)

    def to_json(self, augmentation: dict[str, Any]) -> dict[str, Any]:
        """The settings as values that JSON can hold; `augmentation` is the augmentation in its own form."""
        return {"format": 1, **{f.name: getattr(self, f.name) for f in dataclasses.fields(self)}, "augment": augmentation}
