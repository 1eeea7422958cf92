"""Lists a folder as a table.

walk.py          the folders under a root, in row order, each listed once
sorted_names.py  the names in one folder in byte order, in bounded memory
listing.py       what a scan found in each folder, so that the next lists only folders that changed
comparison.py    rows that were added, are gone, or have moved since an earlier scan
scan.py          scan_folder
"""
