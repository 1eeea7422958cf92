"""The report: one page that shows what a folder, a run or a prediction is.

report.py       which sections a page has, and what they are made of
measure.py      one pass of a model over images: a few numbers for each, and the features of a sample
statistics.py   figures of quality from these numbers
plane.py        features in two dimensions
label_errors.py labels that are probably wrong
attention.py    where the model looked
thumbnails.py   images as data: addresses
tiles.py        an image with its name, label, prediction and scores
showing.py      what `show` of an index and of a stream draws
page.py         values → one file of HTML, with the templates of templates/
"""
