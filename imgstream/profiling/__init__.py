"""Measures the stages of training on a folder, and advises what to set: `imgstream bench`.

figures.py        the measurements, with units
training_step.py  a training step, with the model that training compiles
stages.py         one function for each stage, each within the seconds it is given
examine.py        the stages in turn, over a random sample of the folder
advice.py         from the figures: the slowest stage, the upper bound, what to set
"""

from __future__ import annotations

from imgstream.profiling.advice import Advice, advise
from imgstream.profiling.examine import examine
from imgstream.profiling.figures import Figures

__all__ = ["Advice", "Figures", "advise", "examine"]
