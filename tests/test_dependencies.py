from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def imported() -> set[str]:
    """Top-level modules that the package imports, other than Python's and its own."""
    names: set[str] = set()
    for file in (ROOT / "imgstream").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"imgstream"}


def test_whatever_the_package_imports_is_installed_with_it_and_not_only_with_the_tools_of_development() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {name: lines for name, lines in project["optional-dependencies"].items() if name not in ("docs", "dev")}
    listed = [*project["dependencies"], *(line for lines in extras.values() for line in lines)]
    declared = {re.split(r"[^\w-]", line)[0].lower() for line in listed}
    distributions = importlib.metadata.packages_distributions()
    undeclared = {name for name in imported() if not {d.lower() for d in distributions.get(name, [name.replace("_", "-")])} & declared}
    assert undeclared == set()
    assert "numpy" in imported()
