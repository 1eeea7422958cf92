"""When the command began: what --minutes counts from."""

import time

STARTED = time.monotonic()
"""Seconds, by time.monotonic()."""
