"""Reads files without ever waiting, and writes them whole or not at all; reads objects in buckets.

reader.py             reads the bytes of an image file into reused memory
spans.py              where the bytes of an image lie that is part of another file
addresses.py          the address of an object in a bucket, or on a web server
objects.py            reads and lists these
object_file.py        an object as a file that can be read at any place
unpacking.py          unpacks what is kept compressed in a container
atomic.py             temporary file, fsync, rename
csv_output.py         the CSV format of all our files
digests.py            digests of a folder's files, and checks against them
locations.py          the user's cache folder
compiled_programs.py  what a backend has compiled, kept there
"""
