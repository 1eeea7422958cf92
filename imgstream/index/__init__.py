"""The index of a folder or a list of images: paths and labels, before any pixel is read.

names.py         which file names are images
path_lists.py    reads lists of paths, of groups, and of corrections
table/           the rows as a memory-mapped Arrow file, and what is known about their files
selection.py     RowSelection: some rows of a table
split/           training or validation, by a hash of the relative path or of the group
changes.py       what is new or gone since an earlier scan
image_index.py   ImageIndex: take, filter, shard, split, save, load
label_sets.py    several labels an image
corrections.py   puts labels right by a list, in the index alone
folder/          folder → index
manifest/        CSV, JSONL, Parquet → index, and back
shards/          archives and shards → index
source_kinds.py  whether a path is a folder, a manifest, a table or an image
look_alikes.py   finds classes whose names look alike
opening.py       scan: opens any of these sources
header_scan.py   opens every file and records what its header says
"""

from imgstream.index.folder.scan import scan_folder
from imgstream.index.image_index import ImageIndex
from imgstream.index.manifest.read import read_manifest
from imgstream.index.names import IMAGE_EXTENSIONS
from imgstream.index.opening import Source, open_index, scan
from imgstream.index.source_kinds import kind_of

__all__ = ["IMAGE_EXTENSIONS", "ImageIndex", "Source", "kind_of", "open_index", "read_manifest", "scan", "scan_folder"]
