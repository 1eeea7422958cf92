"""Predictions for new files: one row for each file, good or bad, with its path.

rows.py         Prediction: the result for one file
predict.py      images → predictions, in order, in constant memory
arrays.py       images that are in memory already
scorer.py       the scores of one model, or of several together
store.py        a database of results that survives a crash; local_disks.py says where it may lie
job.py          predicts a whole index into a file, and resumes where it stopped
writers.py      writes predictions as CSV, JSON lines or Parquet
readers.py      reads them again
"""
