"""Shrinking: a run's network with fewer channels, fine-tuned.

channels.py  which channels of a network belong together, which of them count least, and the network without these
shrink.py    shrink_run: prunes the model of a run and trains it further, as a new run
"""

from __future__ import annotations

from imgstream.shrinking.shrink import shrink_run

__all__ = ["shrink_run"]
