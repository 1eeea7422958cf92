"""Writes findings as lists for train, predict and split: what to leave out, and what to keep together. See docs/formats.md."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from imgstream.check.findings import Findings
from imgstream.files.atomic import atomic_file
from imgstream.files.csv_output import csv_writer, path_b64, utf8


def write_quarantine(findings: Findings, path: str | os.PathLike[str]) -> int:
    """Write the files to leave out to `path`, whole or not at all; return their number. Raises OutputError.

    They are the broken ones; all that show the same image under several labels; and of other equal files all but the first.
    """
    return _write(findings, path, ("reason", "detail"), _left_out(findings))


def write_groups(findings: Findings, path: str | os.PathLike[str]) -> int:
    """Write which files belong together to `path`, whole or not at all; return the number of groups. Raises OutputError.

    A group is a cluster of files that are equal or show the same image, named by its first file, so that the name stays when more files
    come. Files in no cluster are not listed.
    """
    groups = ((row, (name,)) for rows in findings.alike for name in (_name(findings, rows[0]),) for row in rows.tolist())
    _write(findings, path, ("group",), groups)
    return len(findings.alike)


def _name(findings: Findings, row: int) -> str:
    return path_b64(findings.index.relative_bytes(int(row))) or findings.path(int(row))


def _write(findings: Findings, path: str | os.PathLike[str], columns: tuple[str, ...], rows: Iterator[tuple[int, tuple[str, ...]]]) -> int:
    written = 0
    with atomic_file(path, "w") as file:
        writer = csv_writer(file)
        writer.writerow(("path", *columns, "path_b64"))
        for written, (row, cells) in enumerate(rows, 1):  # noqa: B007  # the last number is the count
            writer.writerow((utf8(findings.path(row)), *map(utf8, cells), path_b64(findings.index.relative_bytes(row))))
    return written


def _left_out(findings: Findings) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Row, reason and detail of each file to leave out, each file once."""
    for bad in findings.facts.bad():
        yield bad.row, (bad.reason, bad.detail)
    labels, conflicting = findings.index.labels, np.zeros(len(findings.index), bool)
    for number in findings.conflicts.tolist():
        rows = findings.alike[number]
        conflicting[rows] = True
        labelled = rows[labels[rows] >= 0]
        one, other = int(labelled[0]), int(labelled[labels[labelled] != labels[labelled[0]]][0])
        for row in rows.tolist():
            against = one if labels[row] != labels[one] else other
            yield row, ("conflicting labels", f"the same image as {findings.path(against)}, which is {findings.class_name(against)}")
    for rows in findings.exact:
        if not conflicting[rows[0]]:
            first = findings.path(int(rows[0]))
            for row in rows[1:].tolist():
                yield row, ("duplicate", f"a copy of {first}")
