"""Trains in several processes, on one machine or on many, as one training: each reads and computes its part of every batch.

group.py         the processes, and how they come to the same decisions
part_stream.py   the part of each batch that one process reads
interrupts.py    a signal ends a training between two steps
run_copy.py      the run folder: the first process writes it, and the others begin with what it holds
"""
