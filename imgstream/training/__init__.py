"""Training: from a folder to a run.

settings.py         what can be asked for; frozen, self-checking, saved with the run
data.py             the rows that are trained on, split, and what a sample is
schedule.py         how far along training is, and the learning rate there; fitted to a number of steps or to the clock
step/               what a step is made of: model, optimizer, precision, average of the weights
memory/             how much memory it takes: before, and while it runs
state/              what it leaves on disk and goes on from
trial.py            what steps and validations take, tried on a few batches
preparation.py      what a training will do, before anything is written
frozen_backbone.py  a head on frozen features, before the rest is trained
loop.py             the loop
progress.py         what a person who looks sees of it
train.py            the whole command: index, model, loop, run folder
dry_run.py          what a training would do, and nothing written
rate_finder.py      the learning rate, found by trying
"""

from __future__ import annotations

from imgstream.training.dry_run import DryRun, dry_run
from imgstream.training.settings import TrainSettings
from imgstream.training.train import train

__all__ = ["DryRun", "TrainSettings", "dry_run", "train"]
