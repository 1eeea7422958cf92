"""The Python pipeline: threads or worker processes make samples, several batches ahead.

batch_loader.py     requests → batches, in order
threads.py          threads of this process
processes.py        worker processes; worker_process.py is what each of them runs
sample_job.py       one row → one sample
cached_samples.py   one row → one sample, from the pixel cache
open_batch.py       a batch while it is being filled
readahead.py        asks the disk for files before they are read
objects_ahead.py    fetches objects of a bucket before they are decoded
buffer_pool.py      batch memory, recycled when nobody holds it any more
"""
