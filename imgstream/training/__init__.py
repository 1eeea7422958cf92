"""Training: from a folder to a run.

settings.py    what can be asked for; frozen, self-checking, saved with the run
schedule.py    how far along training is, and the learning rate there; fitted to a number of steps or to the clock
averaging.py   the moving average of the weights: what is evaluated and saved
checkpoint.py  everything that training goes on from, in one file
compiling.py   model, optimizer and loss
program.py     a step as one TensorFlow program, for batches of every size
fit.py         the loop
prepare.py     what a training will do, before anything is written
trial.py       what steps and validations take, tried on a few batches
dry_run.py     what a training would do, and nothing written
train.py       the whole command: index, model, loop, run folder
"""

from __future__ import annotations

from imgstream.training.dry_run import DryRun, dry_run
from imgstream.training.settings import TrainSettings
from imgstream.training.train import train

__all__ = ["DryRun", "TrainSettings", "dry_run", "train"]
