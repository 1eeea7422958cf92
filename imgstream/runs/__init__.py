"""The run folder: what training writes, and what prediction and evaluation start from. docs/formats.md describes each file.

folder.py     the names of the files, and the small ones read and written
golden.py     samples drawn by our own code, with their logits: checked whenever a model is loaded
sides.py      which images are trained on, and which validated on
reporting.py  the run's report: finds what it shows
tensorboard.py  options and pictures for TensorBoard
plots.py      figures for notebooks
run.py        Run: the model with its spec and class names; load_run
"""

from __future__ import annotations

from imgstream.runs.run import Run, load_run

__all__ = ["Run", "load_run"]
