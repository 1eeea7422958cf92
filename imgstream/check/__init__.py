"""What is wrong with a folder of images, before anybody trains on it. Files are read, never touched.

survey.py           threads over all rows: what the headers say; with decoding, what only the pixels tell, and a thumbnail of each
file_records.py     what is kept of a file: a few numbers in an array, and a line in a spool where it is bad
thumbnail.py        file → a grey 16×16 and a coarse colour, whatever its kind, size and orientation
exact_copies.py     files of equal contents
near_duplicates.py  files whose thumbnails agree: candidates by hashing, then compared
clusters.py         links → clusters
findings.py         what was found, as numbers and as JSON
output_lists.py     the quarantine and the groups as CSV
examine.py          all of it in turn
"""

from __future__ import annotations

from imgstream.check.examine import examine
from imgstream.check.findings import Findings
from imgstream.check.output_lists import write_groups, write_quarantine

__all__ = ["Findings", "examine", "write_groups", "write_quarantine"]
