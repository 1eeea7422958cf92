"""The tf.data pipeline: the same batches, made by TensorFlow's ops and threads.

row_plans.py     what only Python knows of a row: window, reduction, orientation, random numbers
dataset.py       the tf.data.Dataset
whole_images.py  the same rows with another resizing, or with alpha
cardinality.py   a known length, although bad batches are left out
"""
