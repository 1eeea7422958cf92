"""Paths and labels of a folder, before any pixel is read.

folder.scan          folder → sorted rows (spill: names of one folder in bounded memory)
table                the rows as a mapped Arrow file: written whole or not at all, costing no memory of our own
image_index          ImageIndex: a selection of rows; take, save, load
split                training or validation: a hash of the relative path
"""

from imgstream.index.folder import IMAGE_EXTENSIONS, scan
from imgstream.index.image_index import ImageIndex

__all__ = ["IMAGE_EXTENSIONS", "ImageIndex", "scan"]
