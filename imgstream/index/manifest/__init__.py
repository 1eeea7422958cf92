"""From a list of images (CSV, TSV, JSON lines, Parquet, text) to a table, a chunk of rows at a time; and back.

rows.py      chunks of rows: JSON lines, Parquet, text with a path a line
csv_rows.py  the same of CSV and TSV
paths.py     paths made relative to the root, and looked for
fields.py    labels, parts of the split, groups, weights
read.py      read_manifest
write.py     write_manifest
"""
