"""The run folder: what training leaves, and what everything after it starts from. docs/formats.md describes each file.

folder.py   the names of the files, and the small ones read and written
golden.py   samples drawn by our own code, with the logits they gave: checked whenever a model is loaded
run.py      Run: the model with all that belongs to it; load_run
"""

from __future__ import annotations

from imgstream.runs.run import Run, load_run

__all__ = ["Run", "load_run"]
