"""The doctor of a folder: what each stage on the way from its files to a trained step gives, and what to set.

figures.py  what was measured, with units
stages.py   one function for each stage, each within the seconds it is given
examine.py  the stages in turn, over a random sample of the folder
advice.py   from the figures alone: which stage binds, the upper bound, what to set
"""

from __future__ import annotations

from imgstream.bench.advice import Advice, advise
from imgstream.bench.examine import examine
from imgstream.bench.figures import Figures

__all__ = ["Advice", "Figures", "advise", "examine"]
