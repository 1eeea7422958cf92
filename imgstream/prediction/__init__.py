"""Predicting on new folders: one row a file, traced by its path, good or bad.

rows.py         Prediction: what one file came to
predict.py      images → predictions, in order, in constant memory
arrays.py       images that are in memory already
scorer.py       scores of one model, or of several together
store.py        what every file came to, in a database that survives a kill; local_disks.py says where it may lie
job.py          a whole index into a file, going on where it stopped
writers.py      predictions as CSV, JSON lines or Parquet
readers.py      the same, read again
"""
