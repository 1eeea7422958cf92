"""Checks a folder of images for faults before training. Files are read, never changed.

survey.py           reads all files in threads: headers, or with decoding also a thumbnail of each
file_records.py     what is kept of a file: a few numbers in an array, and a line in a temporary file if it is bad
thumbnail.py        file → grey 16×16 and coarse colour, whatever its kind, size and orientation
exact_copies.py     files of equal contents
near_duplicates.py  files with similar thumbnails: candidates by hashing, then compared
clusters.py         links → clusters
findings.py         the findings, as numbers and as JSON
output_lists.py     the quarantine and the groups as CSV
examine.py          all of it in turn
"""

from __future__ import annotations

from imgstream.check.examine import examine
from imgstream.check.findings import Findings
from imgstream.check.output_lists import write_groups, write_quarantine

__all__ = ["Findings", "examine", "write_groups", "write_quarantine"]
