"""Records when the command began, from which --minutes counts."""

import time

STARTED = time.monotonic()
"""Seconds, by time.monotonic()."""
