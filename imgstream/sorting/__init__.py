"""Files put in order by what was predicted of them: folders by label; nothing is overwritten, and all of it can be undone.

predictions file ──► plan a block of rows: free names ──► journal (the undo file) ──► place ──► journal ──► remove originals (move)
"""

from imgstream.sorting.placing import Preview, SortReport, preview, sort, stored_root
from imgstream.sorting.undoing import UndoReport, undo

__all__ = ["Preview", "SortReport", "UndoReport", "preview", "sort", "stored_root", "undo"]
