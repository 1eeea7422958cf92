"""Paths and labels of many images, before any pixel is read.

scan             what a user gives → table     (kinds: what it is; opening: how it is read; lists: paths)
scan_folder      folder → table                (walk: folders in order; spill: names of one folder in bounded memory;
                                                listing, refresh: what need not be listed again, and what changed)
read_manifest    CSV, JSONL, Parquet → table
table            the rows as a mapped Arrow file: written whole or not at all, costing no memory of our own (columns, table_writer)
image_index      ImageIndex: a selection of rows; take, filter, shard, save, load
split, groups    training or validation: a hash of the relative path, or of the group (lists: files that name paths and groups)
"""

from imgstream.index.folder import scan_folder
from imgstream.index.image_index import ImageIndex
from imgstream.index.kinds import kind_of
from imgstream.index.manifest import read_manifest
from imgstream.index.opening import Source, open_index, scan
from imgstream.index.walk import IMAGE_EXTENSIONS

__all__ = ["IMAGE_EXTENSIONS", "ImageIndex", "Source", "kind_of", "open_index", "read_manifest", "scan", "scan_folder"]
