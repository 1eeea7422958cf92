"""Files put in order by what was predicted of them: folders by label; nothing is overwritten, and all of it can be undone.

predictions file ──► plan a block of rows: free names ──► journal (the undo file) ──► place ──► journal ──► remove originals (move)

names.py    names of folders and files that are safe
files.py    one file gets one more name, or one copy
journal.py  the undo file
plan.py     which file gets which name
placing.py  imgstream sort
undoing.py  imgstream sort --undo
"""

from imgstream.sorting.placing import Preview, SortReport, preview, sort, stored_root
from imgstream.sorting.undoing import UndoReport, undo

__all__ = ["Preview", "SortReport", "UndoReport", "preview", "sort", "stored_root", "undo"]
