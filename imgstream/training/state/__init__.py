"""What a training writes while it runs, and resumes from.

checkpoint.py      weights, optimizer, averages, counters: one file
training_state.py  counters, plan, history: what a checkpoint keeps beside the arrays
resuming.py        what must be the same when a run is resumed
config_file.py     train.yaml, which repeats a run
history.py         history.csv, skipped.csv, TensorBoard events
"""
