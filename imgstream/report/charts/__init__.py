"""Charts, by Matplotlib: the same for notebooks and pages.

figure.py    a figure in our style
training.py  loss, accuracy, learning rate, images a second, memory
quality.py   confusion, calibration, coverage, scores, the map
images.py    images side by side
svg.py       a figure as SVG inside a page, in the page's own colours
"""
