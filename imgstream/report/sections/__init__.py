"""The sections of a page, each as the values that its template takes.

data.py        classes, kinds, sizes, faults, a contact sheet of each class and of the augmentation
training.py    history, memory, settings, versions
quality.py     accuracy, classes, confusion, calibration, coverage
labels.py      figures of each class where an image may have several labels
images.py      top losses, surest mistakes, least sure, likely label errors, random ones
projection.py  the map: features in two dimensions
prediction.py  labels and scores of unlabelled images, or of a file of predictions
"""
