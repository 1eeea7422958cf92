"""Paths and labels of many images, before any pixel is read.

names.py         which names are images'
path_lists.py    files that name paths and groups
table/           the rows as a mapped Arrow file, and what was found out about their files
selection.py     RowSelection: some rows of a table
split/           training or validation: a hash of the relative path, or of the group
changes.py       what is new or gone since an earlier scan
image_index.py   ImageIndex: take, filter, shard, split, save, load
folder/          folder → index
manifest/        CSV, JSONL, Parquet → index, and back
source_kinds.py  what a path that a user gives is
look_alikes.py   classes whose names look alike
opening.py       scan: the front door
header_scan.py   every file opened once, for what its header says
"""

from imgstream.index.folder.scan import scan_folder
from imgstream.index.image_index import ImageIndex
from imgstream.index.manifest.read import read_manifest
from imgstream.index.names import IMAGE_EXTENSIONS
from imgstream.index.opening import Source, open_index, scan
from imgstream.index.source_kinds import kind_of

__all__ = ["IMAGE_EXTENSIONS", "ImageIndex", "Source", "kind_of", "open_index", "read_manifest", "scan", "scan_folder"]
