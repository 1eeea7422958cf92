"""What each stage on the way from a folder's files to a trained step gives, and what to set: `imgstream bench`.

figures.py        what was measured, with units
training_step.py  the model as training compiles it, and a step
stages.py         one function for each stage, each within the seconds it is given
examine.py        the stages in turn, over a random sample of the folder
advice.py         from the figures alone: which stage binds, the upper bound, what to set
"""

from __future__ import annotations

from imgstream.profiling.advice import Advice, advise
from imgstream.profiling.examine import examine
from imgstream.profiling.figures import Figures

__all__ = ["Advice", "Figures", "advise", "examine"]
