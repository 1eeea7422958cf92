"""How good a model is, and whether new images look like those it was trained on. NumPy only, but for the model's own answers.

metrics.py      softmax, confusion matrix, precision, recall, F1
calibration.py  temperature scaling, expected calibration error
evaluate.py     a model over labelled images
drift.py        the training images' profile, and how far new images are from it
"""
