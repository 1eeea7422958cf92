"""Files on disk: read without waiting, written whole or not at all.

reader.py      bytes of an image file, into memory that is used again
atomic.py      temporary file, fsync, rename
csv_output.py  CSV as all our files have it
digests.py     digests of a folder's files, and whether they still hold
locations.py   the user's cache folder
"""
