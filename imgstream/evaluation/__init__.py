"""Measures how good a model is, and whether new images look like those it was trained on. NumPy only, except for the model's forward pass.

metrics.py      softmax, confusion matrix, precision, recall, F1
binary.py       of two classes: ROC AUC, average precision, thresholds
calibration.py  temperature scaling, expected calibration error
evaluate.py     evaluates a model on labelled images
multi_label.py evaluates one whose images may have several labels
drift.py        statistics of the training images, and how far new images are from them
"""
