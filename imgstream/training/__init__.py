"""Training: from a folder of images to a run folder.

settings.py         the options of training: frozen, self-checking, saved with the run
data.py             the labelled rows, their split, and the spec of their samples
schedule.py         progress and learning rate, planned for a number of steps or for the clock
step/               the parts of a training step: models, optimizer, precision, average of the weights
memory/             how much memory training takes: planned before it starts, recorded while it runs
state/              checkpoints, history, train.yaml, and resuming from them
trial.py            measures steps and validations on a few batches
preparation.py      decides everything before anything is written
frozen_backbone.py  trains a head on frozen features, before the whole model
loop.py             the training loop
progress.py         the progress that a person sees
train.py            train: index, models, loop, run folder
dry_run.py          what train would do, without writing anything
folds.py            a run for each part of a cross-validation
rate_finder.py      suggests a learning rate
"""

from __future__ import annotations

from imgstream.training.dry_run import DryRun, dry_run
from imgstream.training.settings import TrainSettings
from imgstream.training.train import train

__all__ = ["DryRun", "TrainSettings", "dry_run", "train"]
