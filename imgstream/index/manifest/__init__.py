"""Reads a list of images (CSV, TSV, JSON lines, Parquet, text) as a table, a chunk of rows at a time; and writes one.

rows.py      chunks of rows of JSON lines, Parquet, and text with a path a line
csv_rows.py  chunks of rows of CSV and TSV
paths.py     makes paths relative to the root, and checks that files exist
buckets.py   tries the first objects of those that are in buckets
fields.py    labels, parts of the split, groups, weights
read.py      read_manifest
write.py     write_manifest
"""
