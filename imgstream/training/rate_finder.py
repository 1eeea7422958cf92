"""Suggests a learning rate: the rate grows with each step until the loss grows, too.

After Smith, "Cyclical learning rates for training neural networks" (2015), section 3.3, and Smith and Topin, "Super-convergence" (2018),
who take a rate just below divergence for the peak of one cycle.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from imgstream.augment import resolve
from imgstream.errors import DatasetError
from imgstream.index import ImageIndex
from imgstream.models import infer_model, model_info
from imgstream.stream import Stream
from imgstream.training.data import labelled, sample_spec, split
from imgstream.training.schedule import Sizes
from imgstream.training.settings import DEFAULT_BATCH_SIZE, TrainSettings
from imgstream.training.step.compiled_models import Models
from imgstream.training.step.optimizers import peak_learning_rate
from imgstream.training.step.step_selection import augmentation_of_steps, new_step

LOWEST, HIGHEST = 1 / 500, 200.0
"""Lowest and highest rate to try, as multiples of the rate that training takes by default."""
STEPS = 120
_SMOOTHING = 0.9
_DIVERGED = 2
"""When the loss exceeds this many times that of the beginning, no higher rates are tried."""
_SAFETY = 2
"""The suggested peak is this many times lower than the rate from which the loss rises: the smoothed loss shows the rise late."""
_RISE = 0.1
"""A loss is rising once it has risen by more than this share of its fall."""
_LEARNT = 0.05
"""Share by which the loss must fall below chance for a curve to mean anything: the loss of two classes varies by 3 % without learning."""


@dataclasses.dataclass(frozen=True)
class RateCurve:
    """The loss at each learning rate that was tried."""

    rates: list[float]
    """The rate of each step, growing."""
    losses: list[float]
    """Smoothed, in nats."""
    batch_size: int
    chance: float
    """The loss, in nats, of a model that knows only the classes' shares."""

    @property
    def has_learnt(self) -> bool:
        """Whether anything was learnt at any rate; if not, the curve is noise and suggests nothing."""
        return min(self.losses) <= (1 - _LEARNT) * self.chance

    @property
    def usual(self) -> float:
        """The peak that training takes by default: LOWEST times that is the first rate."""
        return self.rates[0] / LOWEST

    @property
    def beginning(self) -> float:
        """The loss at rates too low to learn with: the median of the first tenth, in nats."""
        return float(np.median(self.losses[: max(3, len(self.losses) // 10)]))

    @property
    def lowest(self) -> float:
        """The rate with the lowest loss."""
        return self.rates[int(np.argmin(self.losses))]

    @property
    def limit(self) -> float:
        """The rate from which the loss rises: the last one, going up from the lowest loss, before a tenth of the loss's fall is lost again;
        the highest rate tried if that never happens. Smith takes the rate of divergence, but normalized steps such as Muon's do not
        diverge: they stop learning.
        """
        lowest = int(np.argmin(self.losses))
        most = self.losses[lowest] + _RISE * (self.beginning - self.losses[lowest])
        return next((self.rates[i - 1] for i in range(lowest + 1, len(self.losses)) if self.losses[i] > most), self.rates[-1])

    @property
    def suggestion(self) -> float | None:
        """The peak to give --learning-rate: half of `limit`, to two digits; None if nothing was learnt."""
        return float(f"{self.limit / _SAFETY:.1e}") if self.has_learnt else None

    def to_json(self) -> dict[str, Any]:
        """The curve as values that JSON can hold."""
        return {
            "learning_rate": self.suggestion,
            "lowest_at": self.lowest,
            "limit": self.limit,
            "batch_size": self.batch_size,
            "chance": self.chance,
            "rates": self.rates,
            "losses": self.losses,
        }


def find_rate(
    source: str | os.PathLike[str] | ImageIndex, *, steps: int = STEPS, progress: Callable[[int], None] | None = None, **options: Any
) -> RateCurve:
    """Train `steps` steps on `source`, as train does with the same `options`, at rates from LOWEST to HIGHEST times the default, and drop
    the model.

    Ends early when the loss has grown far above that of the beginning. In few steps nothing may be learnt: see RateCurve.has_learnt. Raises
    what train raises.
    """
    settings = TrainSettings(**options)
    info = model_info(settings.model or infer_model(settings.weights) or "cnn")
    index = labelled(source, settings, None, None)
    train_index, _, _ = split(index, settings)
    spec = sample_spec(settings, info, index, lambda text: None)
    models = Models.make(settings, info, spec, Sizes(spec.size, None), train_index.class_names, {})
    batch_size = settings.batch_size or DEFAULT_BATCH_SIZE
    augmentation, on_device = resolve(settings.augment), None
    if settings.augment_on == "device":
        on_device, augmentation = augmentation_of_steps(augmentation, settings.seed, [spec.shape], models.replicas), None
    take_step = new_step(models.trained, models.new_average(), models.replicas, batch_size, spec, on_device)
    usual = peak_learning_rate(batch_size, is_transfer=models.is_transfer)
    stream = Stream(
        train_index,
        spec,
        augment=augmentation,
        batch_size=batch_size,
        shuffle=True,
        seed=settings.seed,
        workers=settings.workers,
        dtype=spec.pixel_type,
    )
    batches = itertools.chain.from_iterable(stream.batches(epoch) for epoch in itertools.count())
    chance = _chance(train_index, settings)
    rates: list[float] = []
    losses: list[float] = []
    smoothed = 0.0
    for step, (images, labels, *weights) in enumerate(itertools.islice(batches, steps)):
        rate = usual * LOWEST * (HIGHEST / LOWEST) ** (step / max(1, steps - 1))
        targets = np.eye(len(train_index.class_names), dtype=np.float32)[labels] if labels.ndim == 1 else labels
        loss = take_step(
            images, models.targets(images, targets, batch_size), weights[0] if weights else None, rate=rate, share=0.0, number=step
        ).loss
        loss /= (float(np.mean(weights[0])) if weights else 1.0) or 1.0  # Keras divides by the images, not by what they weigh
        if not math.isfinite(loss):
            break
        smoothed = _SMOOTHING * smoothed + (1 - _SMOOTHING) * loss
        rates.append(rate)
        losses.append(smoothed / (1 - _SMOOTHING ** (step + 1)))
        if progress is not None:
            progress(step + 1)
        if step > 10 and losses[-1] > _DIVERGED * RateCurve(rates, losses, batch_size, chance).beginning:
            break
    if not rates:
        raise DatasetError(f"no image under {train_index.root} could be read: imgstream check names them")
    return RateCurve(rates, losses, batch_size, chance)


def _chance(index: ImageIndex, settings: TrainSettings) -> float:
    counts = index.class_counts()
    if settings.multi_label:  # of each class's decision
        shares = (1 - settings.label_smoothing) * counts / len(index) + settings.label_smoothing / 2
        shares = np.clip(shares, 1e-7, 1 - 1e-7)
        return float(-(shares * np.log(shares) + (1 - shares) * np.log(1 - shares)).sum())
    targets = (1 - settings.label_smoothing) * counts / counts.sum() + settings.label_smoothing / len(counts)
    return float(-(targets * np.log(targets)).sum())
