"""Sorts files into folders by predicted class; nothing is overwritten, and everything can be undone.

predictions file ──► plan a block of rows: free names ──► journal (the undo file) ──► place ──► journal ──► remove originals (move)

names.py    folder and file names that are safe
plan.py     which file gets which name
files.py    links, copies and moves one file
journal.py  the undo file
placing.py  preview, sort
undoing.py  undo
"""

from imgstream.sorting.placing import Preview, SortReport, preview, sort, stored_root
from imgstream.sorting.undoing import UndoReport, undo

__all__ = ["Preview", "SortReport", "UndoReport", "preview", "sort", "stored_root", "undo"]
