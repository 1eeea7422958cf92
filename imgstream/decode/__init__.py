"""From a file's bytes to a sample's pixels.

sample.py          read, plan, decode, crop, resize: one file → one sample
reference.py       bytes → oriented uint8 at 1, 1/2, 1/4 or 1/8 of the size; both pipelines are measured by it
pillow.py          every kind but plain JPEG
area_mean.py       how kinds other than JPEG are reduced
memory_budget.py   large pictures wait for each other
tensorflow_ops.py  the same sample in TensorFlow ops
"""
