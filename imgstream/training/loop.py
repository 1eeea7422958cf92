"""The training loop: steps, validation, checkpoints, the clock; it stops without loss on Ctrl-C or SIGTERM."""

from __future__ import annotations

import collections
import dataclasses
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from imgstream.errors import BadImage, DatasetError, ModelError
from imgstream.evaluation.calibration import ValidationLogits
from imgstream.evaluation.drift import ProfileBuilder
from imgstream.evaluation.evaluate import Evaluation, evaluate
from imgstream.evaluation.multi_label import LabelsEvaluation, evaluate_labels
from imgstream.models.forward import Program
from imgstream.runs.folder import RunFolder
from imgstream.stream import Batch, Stream
from imgstream.training.data import class_weights
from imgstream.training.memory.record import MemoryRecord
from imgstream.training.processes.group import Processes
from imgstream.training.processes.interrupts import interrupts
from imgstream.training.schedule import Clock, Plan, Sizes, one_cycle
from imgstream.training.settings import TrainSettings
from imgstream.training.state.checkpoint import Checkpoints, latest, restore
from imgstream.training.state.history import Records
from imgstream.training.state.training_state import State
from imgstream.training.step.compiled_models import Models
from imgstream.training.step.compiled_step import StepResult
from imgstream.training.step.optimizers import peak_learning_rate
from imgstream.training.step.step_selection import new_step
from imgstream.training.trial import closing_seconds, try_validation

_MAX_VALIDATION_SHARE = 0.1
_TRIAL_SHARE = 0.01
"""The most time, as a share of all and beside compiling, that is spent on measuring how long a validation will take."""
_MIN_BAD = 20
_AGREE_EVERY = 8
"""Batches after which processes ask each other whether to stop."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Status:
    """Where training is, reported after each step and each validation."""

    epoch: int
    epochs: int | None
    step: int
    last_step: int
    images_per_second: float
    seconds_left: float | None
    loss: float
    accuracy: float
    skipped: int
    validation: Evaluation | LabelsEvaluation | None = None
    """The result, in the report after a validation; else None."""


Report = Callable[[Status], None]


class TrainingLoop:
    """One training, from a fresh or restored state to its end."""

    def __init__(
        self,
        models: Models,
        train: Stream,
        val: Stream,
        settings: TrainSettings,
        folder: RunFolder,
        sizes: Sizes,
        *,
        started: float,
        record: MemoryRecord,
        report: Report | None = None,
        waiting: Callable[[str], None] = lambda what: None,
        callbacks: Sequence[Any] = (),
        processes: Processes = Processes(),  # noqa: B008  # immutable
    ) -> None:
        """`train` and `val` give samples of the full size. `started`: time.monotonic() at the start of the command, from which
        `settings.minutes` counts. `record` gets the number of each step. `waiting` is called with what takes long, before it begins.
        `callbacks`: Keras callbacks for the model that is trained.
        """
        import keras

        self.models, self.model = models, models.trained
        self.train, self.val, self.settings, self.folder, self.sizes = train, val, settings, folder, sizes
        self._grows: Sizes | None = None
        """Sizes that training may begin with, once it is known what compiling for one takes."""
        self._compiled_for: set[tuple[int, int]] = set()
        self._compiles = False
        """Whether the next step compiles first."""
        self._streams = {sizes.full: train}
        if sizes.small is not None:
            self._streams[sizes.small] = train.replace(spec=dataclasses.replace(train.spec, size=sizes.small))
        self._record, self._processes = record, processes
        self.average = models.new_average()
        self._compiled_step = new_step(self.model, self.average, models.replicas, train.batch_size, train.spec, models.augmentation)
        self._program = Program(models.served, val.spec)
        self._results: collections.deque[tuple[int, int, StepResult]] = collections.deque()
        """(step, images, result) of the steps whose results were not read yet."""
        self.state = State()
        self.best: list[np.ndarray] | None = None
        self.checkpoints = Checkpoints(folder.checkpoints)
        self.resumed_from_step: int | None = None
        self.images_seen, self.train_seconds = 0, 0.0
        self._peak = settings.learning_rate or peak_learning_rate(train.batch_size, is_transfer=models.is_transfer)
        self._report, self._waiting, self._started = report, waiting, started
        self._callbacks = keras.callbacks.CallbackList(list(callbacks), model=self.model)
        self._plan = Plan()
        self._clock: Clock | None = None
        self._class_weights = class_weights(train) if settings.balance and not settings.multi_label else None
        self._run_records = Records(folder)
        self._stop, self._stopping, self._saving = threading.Event(), False, False
        self._finished = False
        self._validation_batches: int | None = None
        self._validated = self._checkpointed = started
        self._checkpointed_step = 0
        self._step_ended = started

    def restore(self) -> None:
        """Restore the newest checkpoint, if there is one. Raises RunError when it does not fit."""
        file = latest(self.folder.checkpoints)
        if file is not None:
            state, self.best = restore(file, self.model, self.average)
            self.state = State(**state)
            self._run_records.read_skipped()
        self.resumed_from_step = self._checkpointed_step = self.state.step

    def spent(self, phase: str, seconds: float) -> None:
        """Add to what a part of the training took; see State.phases."""
        self.state.phases[phase] = self.state.phases.get(phase, 0.0) + seconds

    def run(self) -> bool:
        """Train to the end; False when Ctrl-C ended it before. Either way `best` or `average` holds the weights to keep."""
        settings, state = self.settings, self.state
        if settings.minutes is not None:
            self._clock = Clock(self._started + 60 * settings.minutes - state.elapsed)
        if state.plans:
            self._plan = Plan(**{k: state.plans[-1][k] for k in ("work", "progress", "last_work")})
            self.sizes = dataclasses.replace(self.sizes, small_until=state.plans[-1].get("small_until", self.sizes.small_until))
        if self._clock is not None and self._compiled_step.compiles_for_each_size and self.sizes.at(self._progress) != self.sizes.full:
            # The first steps are of the full size, which has to be compiled in any case, to learn what compiling takes.
            self._grows, self.sizes = self.sizes, dataclasses.replace(self.sizes, small_until=0.0)
        epochs = settings.planned_epochs
        self._checkpointed = time.monotonic()
        with interrupts(self._stop):
            self._callbacks.on_train_begin()
            while epochs is None or state.epoch < epochs:
                if not self._epoch():
                    break
            self._sync()
            self._callbacks.on_train_end()
            if self._stopping and not self._finished:
                self._checkpoint()
            self.checkpoints.wait()
        return self._finished or not self._stopping

    def finish(self) -> bool:
        """End without a step, for weights that are final, as after only a head was trained: validate and checkpoint them."""
        self._validate(0.0)
        self._checkpoint()
        self.checkpoints.wait()
        return True

    def _epoch(self) -> bool:
        """Run the rest of the current epoch and its validation; False when training ends with it."""
        state, settings = self.state, self.settings
        if self._clock is None and (not state.batch or not state.plans):
            assert settings.planned_epochs is not None
            steps = len(self.train) - state.batch + (settings.planned_epochs - state.epoch - 1) * len(self.train)
            self._refit(state.work + steps / self.sizes.steps_in(1.0, self._progress))
        if not state.batch:
            self._read_results()
            state.sums = [0.0, 0.0, 0.0]
            self._callbacks.on_epoch_begin(state.epoch)
        seen_before, seconds_before = self.images_seen, self.train_seconds
        ended, first_batch = False, state.batch
        self._step_ended = time.monotonic()
        while not ended and not self._stopping and state.batch < len(self.train):
            size = self.sizes.at(self._progress)  # after a change within an epoch, its next batch follows
            if size not in self._compiled_for and (not self._compiled_for or self._compiled_step.compiles_for_each_size):
                self._waiting(f"compiling for {size[0]}×{size[1]}")
                self._compiled_for.add(size)
                self._compiles = True
            for batch in self._streams[size].traced_batches(state.epoch, state.batch):
                self._count(batch)
                state.batch = batch.number + 1
                if len(batch.images) or self._processes.count > 1:
                    ended = self._step(batch)
                ended = self._agreed(ended)
                if ended or self._stopping or self.sizes.at(self._progress) != size:
                    break
                if self._saving:
                    self._checkpoint()
        if self._stopping:
            return False
        if not ended:
            state.epoch, state.batch, state.rows, state.bad = state.epoch + 1, 0, 0, 0
        if not self._processes.any(self.images_seen != seen_before) and not ended and not first_batch:
            raise DatasetError(f"no image under {self.train.index.root} could be read: all are bad; see {self.folder.skipped}")
        last = ended or state.epoch == settings.planned_epochs or self.model.stop_training
        if self._processes.from_first(last or self._validation_due()):
            rate = (self.images_seen - seen_before) / max(1e-9, self.train_seconds - seconds_before)
            self._validate(rate)
        if self._clock is not None and not last:
            self._refit_to_clock()
        if settings.patience is not None and state.since_best >= settings.patience:
            last = True
        self._end_epoch_for_callbacks()
        self._finished = last = self._processes.from_first(last or self.model.stop_training)
        self._agreed(last)
        if last or self._saving:
            self._checkpoint()
        return not last and not self._stopping

    def _agreed(self, ended: bool) -> bool:
        """Decide with the other processes whether to stop, or to write a checkpoint; with a clock, also on the plan and on the end."""
        if self._processes.count == 1:
            self._stopping, self._saving = self._stop.is_set(), self._checkpoint_due()
            return ended
        self._saving = False
        if self._clock is not None or ended or not self.state.batch % _AGREE_EVERY:  # with a clock every step waits for the first's word
            decided = self._plan, self.sizes, self._validation_batches, ended, self._checkpoint_due()
            self._plan, self.sizes, self._validation_batches, ended, self._saving = self._processes.from_first(decided)
        if ended or not self.state.batch % _AGREE_EVERY:
            self._stopping = self._processes.any(self._stop.is_set())
        return ended

    def _step(self, batch: Batch) -> bool:
        """Run one step; True when it was the last one of the plan or the clock."""
        state, labels = self.state, batch.labels
        if labels.ndim == 1:
            labels = np.eye(len(self.train.index.class_names), dtype=np.float32)[labels]
        weights = self.train.index.weights_at(batch.positions)
        if self._class_weights is not None:
            weights = (1 if weights is None else weights) * (labels @ self._class_weights)
        targets = self.models.targets(batch.images, labels, self.train.batch_size)
        self._callbacks.on_train_batch_begin(batch.number)
        rate, share = self._peak * one_cycle(self._progress), self.average.share(state.step + 1)
        result = self._compiled_step(batch.images, targets, weights, rate=rate, share=share, number=state.step)
        cost = self.sizes.cost(self._progress)
        state.step, state.work = state.step + 1, state.work + cost
        self._record.step = state.step
        self._results.append((state.step, len(labels), result))
        if self._callbacks.callbacks:
            self._sync()
            self._callbacks.on_train_batch_end(batch.number, {"loss": result.loss, "accuracy": result.accuracy})
        self._read_results(self._compiled_step.ahead if state.sums[0] else 0)  # so that the first report of an epoch has a loss, too
        now = time.monotonic()
        self.images_seen += len(batch.images) * self._processes.count
        took, self._step_ended = now - self._step_ended, now
        self.train_seconds += took
        self.spent("compiling" if self._compiles else "steps", took)
        self._compiles = False
        if self._clock is not None:
            if self._clock.step_took(took, cost, now):
                if self._grows is not None:
                    if self._grows.earns(self._clock.compiling_seconds, self._clock.room(now)):
                        self.sizes = self._grows
                    self._grows = None
                self._refit_to_clock()
            if self._clock.is_over(now):
                return True
        self._report_status(now)
        return self._clock is not None and self._progress >= 1

    def _read_results(self, but: int = 0) -> None:
        """Add up the results of all steps but the last `but`, waiting for them. Raises ModelError when a loss is no number."""
        while len(self._results) > but:
            step, images, result = self._results.popleft()
            loss = result.loss
            if not math.isfinite(loss):
                raise ModelError(
                    f"training diverged: the loss is {loss} at step {step} of a learning rate that peaks at {self._peak:g}. "
                    "Try again with a smaller --learning-rate and another --out"
                )
            for i, each in enumerate((1.0, loss, result.accuracy)):
                self.state.sums[i] += images * each

    def _sync(self) -> None:
        """Wait for the device: results, weights and averages are then those after the last step."""
        self._read_results()
        self._compiled_step.sync()

    @property
    def _progress(self) -> float:
        return self._plan.at(self.state.work)

    def _refit_to_clock(self) -> None:
        assert self._clock is not None
        if self._clock.work_seconds is None:
            return
        if not self._clock.validation_seconds:
            whole = 60 * (self.settings.minutes or 0)
            self._waiting("compiling for the validation")
            self._clock.validation_seconds, compiling = try_validation(self._program, self.val, _TRIAL_SHARE * whole)
            self._clock.closing_seconds = closing_seconds(compiling)
            self._step_ended = time.monotonic()
            budget = _MAX_VALIDATION_SHARE * whole
            if self._clock.validation_seconds > budget:
                self._validation_batches = max(1, int(len(self.val) * budget / self._clock.validation_seconds))
                self._clock.validation_seconds = budget
        self._refit(self.state.work + self._clock.work_left(time.monotonic()))

    def _refit(self, last_work: float) -> None:
        if abs(last_work - self._plan.last_work) > 1e-6 or not self.state.plans:
            self._plan = self._plan.refitted(self.state.work, last_work)
            measured = self._clock.to_json() if self._clock is not None else {}
            self.state.plans.append({**dataclasses.asdict(self._plan), "small_until": self.sizes.small_until, **measured})

    def _validation_due(self) -> bool:
        """Whether to validate: every epoch, but with a clock only as often as its share of the time allows."""
        return self._clock is None or self._clock.validation_due(time.monotonic() - self._validated)

    def _validate(self, images_per_second: float) -> None:
        state, began = self.state, time.monotonic()
        self._waiting("validating")
        self._sync()
        validation_logits, profile = ValidationLogits(), ProfileBuilder()

        def observe(images: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> None:
            validation_logits.add(logits, labels)
            profile.add_images(images, self.val.spec)

        self.average.assign_to(self.models.served)
        how: dict[str, Any] = {"max_batches": self._validation_batches, "observe": observe}
        names = self.train.index.class_names
        result: Evaluation | LabelsEvaluation
        if self.settings.multi_label:
            result = evaluate_labels(self._program, names, self.val, **how)
        else:
            result = evaluate(self._program, names, self.val, **how)
        figures = result.figures
        by = next(iter(figures))
        scores = {**figures, "loss": result.loss, "images": result.images, "epoch": state.epoch}
        if self.best is None or state.best is None or (-figures[by], result.loss) <= (-state.best[by], state.best["loss"]):
            self.best, state.best, state.since_best = self.average.values, scores, 0
            if validation_logits:
                calibration, calibrated = (
                    validation_logits.calibrate_labels(result.thresholds)
                    if isinstance(result, LabelsEvaluation)
                    else validation_logits.calibrate()
                )
                profile.add_scores(calibrated)
                state.calibration, state.profile = dataclasses.asdict(calibration), profile.profile().to_json()
        else:
            state.since_best += 1
        state.history.append(
            {
                "epoch": state.epoch,
                "step": state.step,
                "loss": round(self._mean(1), 6),
                "accuracy": round(self._mean(2), 6),
                "val_loss": round(result.loss, 6),
                **{f"val_{name}": round(value, 6) for name, value in figures.items()},
                "learning_rate": round(float(self.model.optimizer.learning_rate), 8),
                "images_per_second": round(images_per_second, 1),
                "seconds": round(self.elapsed(), 1),
            }
        )
        for path, reason in result.skipped:
            self._run_records.add_bad(path, BadImage(reason, ""))
        for path, error in self._processes.gathered(list(self._run_records.bad.items())):
            self._run_records.bad.setdefault(path, error)
        self._run_records.write_history(state.history)
        self._run_records.write_skipped()
        self._validated = time.monotonic()
        self.spent("validating", self._validated - began)
        if self._clock is not None:
            self._clock.validation_seconds = self._validated - began
        self._report_status(self._validated, result)

    def _mean(self, what: int) -> float:
        """Mean of this epoch's training batches so far: 1 the loss, 2 the accuracy."""
        return self.state.sums[what] / max(1.0, self.state.sums[0])

    def elapsed(self) -> float:
        """Seconds of this command and those that it resumes."""
        return self.state.elapsed + time.monotonic() - self._started

    def _checkpoint_due(self) -> bool:
        """Whether `settings.checkpoint_every` has passed since the last checkpoint."""
        every, unit = self.settings.checkpoint_interval
        since = self.state.step - self._checkpointed_step if unit == "steps" else time.monotonic() - self._checkpointed
        return since >= every and not self.checkpoints.is_busy

    def _checkpoint(self) -> None:
        self._sync()
        state = {**dataclasses.asdict(self.state), "elapsed": self.elapsed()}
        self._run_records.write_skipped()
        if self._processes.is_first:
            self.checkpoints.save(self.model, self.average, self.best, state)
        self._checkpointed, self._checkpointed_step = time.monotonic(), self.state.step

    def _end_epoch_for_callbacks(self) -> None:
        if not self._callbacks.callbacks:
            return
        self._sync()
        logs = {"loss": self._mean(1), "accuracy": self._mean(2), "learning_rate": float(self.model.optimizer.learning_rate)}
        row = self.state.history[-1] if self.state.history else {}
        if row.get("step") == self.state.step:  # it was validated
            logs |= {name: value for name, value in row.items() if name.startswith("val_")}
        self._callbacks.on_epoch_end(self.state.epoch - (self.state.batch == 0), logs)

    def _count(self, batch: Batch) -> None:
        """Count the files of a batch and record the bad ones; raise DatasetError when there are too many."""
        state = self.state
        state.rows += len(batch.positions) + len(batch.bad)
        state.bad += len(batch.bad)
        for position, error in batch.bad:
            self._run_records.add_bad(self.train.index.path(position), error)
        limit = max(_MIN_BAD, self.settings.max_bad * state.rows)
        if state.bad > limit:
            self._run_records.write_skipped()
            path, error = next(reversed(self._run_records.bad.items()))
            raise DatasetError(
                f"{state.bad} of the first {state.rows} files of the epoch are bad, more than {limit:.0f}: the last was {path!r} "
                f"({error.reason}: {error.detail}). All are listed in {self.folder.skipped}. Mend them, or allow more with --max-bad"
            )

    @property
    def _last_step(self) -> int:
        left = max(0.0, self._plan.last_work - self.state.work)
        return self.state.step + round(self.sizes.steps_in(left, self._progress))

    def _report_status(self, now: float, validation: Evaluation | LabelsEvaluation | None = None) -> None:
        if self._report is None:
            return
        rate = self.images_seen / self.train_seconds if self.train_seconds else 0.0
        left = None
        if self._clock is not None:
            left = max(0.0, self._clock.deadline - now)
        elif rate:
            left = (self._last_step - self.state.step) * self.train.batch_size / rate
        self._report(
            Status(
                epoch=self.state.epoch,
                epochs=self.settings.planned_epochs,
                step=self.state.step,
                last_step=self._last_step,
                images_per_second=rate,
                seconds_left=left,
                loss=self._mean(1),
                accuracy=self._mean(2),
                skipped=len(self._run_records.bad),
                validation=validation,
            )
        )
