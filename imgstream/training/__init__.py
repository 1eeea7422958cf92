"""Training: from a folder to a run.

settings.py    what can be asked for; frozen, self-checking, saved with the run
schedule.py    how far along training is, and the learning rate there; fitted to a number of steps or to the clock
averaging.py   the moving average of the weights: what is evaluated and saved
checkpoint.py  everything that training goes on from, in one file
compiling.py   model, optimizer and loss
program.py     a step as one TensorFlow program, for batches of every size
fit.py         the loop
train.py       the whole command: index, model, loop, run folder
"""

from __future__ import annotations

from imgstream.training.settings import TrainSettings
from imgstream.training.train import train

__all__ = ["TrainSettings", "train"]
