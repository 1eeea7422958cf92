"""The tf.data pipeline: the same batches, made by TensorFlow's ops and threads.

row_plans.py  what only Python knows of a row: window, reduction, orientation, random numbers
dataset.py    the tf.data.Dataset
"""
