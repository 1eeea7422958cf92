"""Runs the notebooks in docs/tutorials and writes them with what they show; some minutes.

    python tools/run_tutorials.py [NAME.ipynb ...]        (default: all of them)

Each is run from the top, by a kernel of its own, in a temporary folder that holds it and sample_data/ as the repository does.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TUTORIALS = ROOT / "docs" / "tutorials"
_CHATTER = re.compile(
    r"(WARNING: All log messages before absl::InitializeLog|[IWE]\d{4}\d* |To enable the following instructions: )[^\n]*\n?"
)
"""Of TensorFlow's libraries, at their start: what machine they found."""


def run(file: Path, folder: Path) -> Any:
    """The notebook `file` with what its cells show, run in `folder`, where files are made. Raises nbclient's CellExecutionError."""
    import nbclient
    import nbformat

    here = folder / TUTORIALS.relative_to(ROOT)
    here.mkdir(parents=True)
    shutil.copytree(ROOT / "sample_data", folder / "sample_data")
    book = nbformat.read(file, as_version=4)
    # The commands in its cells are those of this environment; the user's own IPython is left alone.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "IPYTHONDIR": str(folder / "ipython")}
    client = nbclient.NotebookClient(
        book, timeout=1200, startup_timeout=300, kernel_name="python3", coalesce_streams=True, resources={"metadata": {"path": str(here)}}
    )
    client.execute(env=environment)
    book.metadata["language_info"] = {"name": "python"}  # nor its version
    for cell in book.cells:
        cell.metadata.pop("execution", None)  # when it was run
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_chatter(output)]
    return book


def _is_chatter(output: Any) -> bool:
    return output.get("name") == "stderr" and not _CHATTER.sub("", output.text).strip()


def main(names: list[str]) -> None:
    """Run those of these names."""
    import nbformat

    for file in sorted(TUTORIALS / name for name in names) or sorted(TUTORIALS.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(run(file, Path(folder)), file)
        print(f"{file.relative_to(ROOT)}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
