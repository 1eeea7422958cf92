"""The tf.data pipeline: the same batches by TensorFlow's ops and threads.

row_plans.py  what only Python knows of a row: window, reduction, orientation, drawn numbers
dataset.py    tf.data.Dataset
"""
