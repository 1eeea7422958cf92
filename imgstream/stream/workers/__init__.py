"""The Python pipeline: sample jobs, done by threads or by worker processes, several batches ahead.

batch_loader.py     requests → batches, in order
threads.py          threads of this process
processes.py        worker processes; worker_process.py is what each of them runs
sample_job.py       one row → one sample
cached_samples.py   the same from the pixel cache
open_batch.py       a batch while it is being filled
readahead.py        files that the disk has to give, asked for ahead
buffer_pool.py      batch memory, recycled when nobody holds it any more
"""
