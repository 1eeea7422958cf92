"""Draws docs/images/architecture.svg: the folders and files of imgstream/, and who imports whom, as the code itself says it.

    python tools/draw_architecture.py            writes the picture
    python tools/draw_architecture.py --check    says whether the picture that is there is that of the code; exit code 1 if not

An arrow leads to what is imported. An import is drawn only where no longer way leads there: training imports errors too, and the picture
has the way through stream. Imports for types alone count as others do.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

import grimp

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "architecture.svg"
PACKAGE = "imgstream"

WIDTH, ROW, BOX, GAP, MARGIN = 760, 64, 30, 24, 20
"""Pixels: of the picture, from row to row, of a box's height, between boxes of a row, and at the edges."""
SWEEPS = 24
"""Passes over the rows in which nodes move towards their neighbours: more change nothing in a picture of this size."""

Graph = dict[str, set[str]]
Rows = list[list[str]]


def imports() -> Graph:
    """For each folder or file directly under the package, those that it imports."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    found: Graph = {module.split(".")[1]: set() for module in graph.find_children(PACKAGE) if not module.endswith("__main__")}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            above, below = (f"{name}.".split(".")[1] for name in (module, imported))
            if above != below and above in found and below in found:
                found[above].add(below)
    return found


def reduced(graph: Graph) -> Graph:
    """The same without the arrows that say what a longer way says already. Raises ValueError where there is a circle."""
    reached: Graph = {}
    for node in _upwards(graph):
        reached[node] = graph[node].union(*(reached[below] for below in graph[node]))
    return {node: {n for n in below if not any(n in reached[other] for other in below - {n})} for node, below in graph.items()}


def rows_of(graph: Graph) -> Rows:
    """Nodes row by row, so that every arrow leads downwards: as low as the longest way down allows, but what more arrows lead to than
    from is moved up, to just below those that import it.
    """
    depth: dict[str, int] = {}
    for node in _upwards(graph):
        depth[node] = 1 + max((depth[below] for below in graph[node]), default=-1)
    for node in reversed(list(_upwards(graph))):
        importers = [depth[above] for above, imported in graph.items() if node in imported]
        if len(importers) > len(graph[node]):
            depth[node] = min(importers) - 1
    deepest, highest = min(depth.values()), max(depth.values())
    return [sorted(node for node in graph if depth[node] == row) for row in range(highest, deepest - 1, -1)]


def _upwards(graph: Graph) -> Iterator[str]:
    """Every node after all that it imports."""
    done: set[str] = set()
    while len(done) < len(graph):
        free = sorted(node for node in graph if node not in done and graph[node] <= done)
        if not free:
            raise ValueError(f"imports go in a circle among {', '.join(sorted(set(graph) - done))}")
        done.update(free)
        yield from free


def drawing(graph: Graph) -> str:
    """The picture as SVG text."""
    graph = reduced(graph)
    rows, ways = _with_waypoints(rows_of(graph), graph)
    places = _places(rows, ways)
    height = MARGIN * 2 + ROW * (len(rows) - 1) + BOX
    title = f"Who imports whom in {PACKAGE}: " + "; ".join(f"{a} imports {', '.join(sorted(b))}" for a, b in sorted(graph.items()) if b)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" font-family="sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#5f7f7c"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    parts += [
        f'<path d="{_curve(way, places)}" fill="none" stroke="#5f7f7c" stroke-width="1.2" marker-end="url(#head)"/>' for way in sorted(ways)
    ]
    for node in sorted(graph):
        x, y = places[node]
        width = _box_width(node)
        parts.append(
            f'<rect x="{x - width / 2:.0f}" y="{y}" width="{width}" height="{BOX}" rx="6" fill="#e4f2f0" stroke="#00796b"/>'
            f'<text x="{x:.0f}" y="{y + BOX / 2 + 4.5}" text-anchor="middle" fill="#102a27">{escape(node)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _with_waypoints(rows: Rows, graph: Graph) -> tuple[Rows, list[tuple[str, ...]]]:
    """Rows with a point in each row that a long arrow crosses, so that it finds its way between the boxes; and the arrows, as nodes and
    points from top to bottom.
    """
    row_of = {node: number for number, row in enumerate(rows) for node in row}
    rows, ways = [list(row) for row in rows], []
    for above, below in sorted((a, b) for a, imported in graph.items() for b in imported):
        points = [f"{above}>{below}@{number}" for number in range(row_of[above] + 1, row_of[below])]
        for number, point in enumerate(points, row_of[above] + 1):
            rows[number].append(point)
        ways.append((above, *points, below))
    return rows, ways


def _places(rows: Rows, ways: list[tuple[str, ...]]) -> dict[str, tuple[float, int]]:
    """The x of the middle and y of the top of each node: each moves, again and again, towards the mean place of its neighbours,
    as near as the others of its row let it.
    """
    neighbours: dict[str, list[str]] = {node: [] for row in rows for node in row}
    for way in ways:
        for a, b in itertools.pairwise(way):
            neighbours[a].append(b)
            neighbours[b].append(a)
    x = {node: middle for row in rows for node, middle in zip(row, _packed(row, [WIDTH / 2] * len(row)), strict=True)}
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 else reversed(rows):
            wished = {node: sum(x[n] for n in neighbours[node]) / max(1, len(neighbours[node])) for node in row}
            row.sort(key=lambda node: (wished[node], node))
            x.update(zip(row, _packed(row, [wished[node] for node in row]), strict=True))
    return {node: (x[node], MARGIN + ROW * number) for number, row in enumerate(rows) for node in row}


def _packed(row: list[str], wished: list[float]) -> list[float]:
    """The x of the middles of a row's nodes, in this order and with gaps between them: the mean of pushing to the right and to the left."""
    half = [_box_width(node) / 2 + GAP / 2 for node in row]
    pushed_right, pushed_left = list(wished), list(wished)
    for i in range(len(row)):
        least = MARGIN + half[i] if i == 0 else pushed_right[i - 1] + half[i - 1] + half[i]
        pushed_right[i] = max(wished[i], least)
    for i in reversed(range(len(row))):
        most = WIDTH - MARGIN - half[i] if i == len(row) - 1 else pushed_left[i + 1] - half[i + 1] - half[i]
        pushed_left[i] = min(wished[i], most)
    return [(a + b) / 2 for a, b in zip(pushed_right, pushed_left, strict=True)]


def _box_width(node: str) -> int:
    return 0 if "@" in node else 24 + 8 * len(node)


def _curve(way: tuple[str, ...], places: dict[str, tuple[float, int]]) -> str:
    """From the bottom of the first box through the points to the top of the last."""
    x, y = places[way[0]]
    y += BOX
    path = f"M{x:.0f} {y}"
    for node in way[1:]:
        to_x, to_y = places[node]
        bend = (to_y - y) / 2
        path += f"C{x:.0f} {y + bend:.0f} {to_x:.0f} {to_y - bend:.0f} {to_x:.0f} {to_y}"
        x, y = to_x, to_y
        if "@" in node:
            path += f"V{to_y + BOX}"
            y = to_y + BOX
    return path


def main() -> int:
    """Write the picture, or compare it; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the picture is not that of the code")
    made = drawing(imports())
    if parser.parse_args().check:
        if PICTURE.exists() and PICTURE.read_text("utf-8") == made:
            return 0
        print("docs/images/architecture.svg is not what the imports are now: run python tools/draw_architecture.py")
        return 1
    PICTURE.write_text(made, "utf-8")
    print(f"{PICTURE.relative_to(Path.cwd()) if PICTURE.is_relative_to(Path.cwd()) else PICTURE}: {made.count('<text')} boxes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
