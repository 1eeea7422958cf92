"""What a training leaves on disk while it runs, and goes on from.

checkpoint.py  weights, optimizer, averages, counters: one file
resuming.py    what must be the same when a run is resumed
history.py     history.csv, skipped.csv, TensorBoard events
"""
