"""Charts, by Matplotlib: the same for notebooks and pages.

figure.py      a figure in our style
training.py    loss, accuracy, learning rate, images a second, memory
quality.py     confusion, recall, calibration, coverage, scores, the map
evaluation.py  those of an Evaluation
images.py      images side by side
svg.py         a figure as SVG inside a page, in the page's own colours
"""
