"""Decodes a file's bytes into a sample's pixels.

sample.py          read, plan, decode, crop, resize: one file → one sample
whole_image.py     one file → the box that a fit takes of it, at full size, with alpha if asked
reference.py       bytes → oriented uint8 at 1, 1/2, 1/4 or 1/8 of the size; both pipelines are compared with it
pillow.py          every kind but plain JPEG
dicom.py           DICOM, by pydicom
levels.py          values of 16 and 32 bits and floats → 16-bit pixels
depth.py           how deep images are, and which of their values are used: a sample of an index
area_mean.py       reduces images of kinds other than JPEG
memory_budget.py   lets large images wait for each other
tensorflow_ops.py  the same sample in TensorFlow ops
"""
