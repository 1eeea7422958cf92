"""The package as others install it: built from its source archive, and tried in an environment that knows nothing of this folder."""

from __future__ import annotations

import email
import email.message
import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def done(command: list[str | Path], cwd: Path) -> str:
    """What `command` writes to stdout; the folders that this suite imports from are not passed on."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    result = subprocess.run(command, check=False, cwd=cwd, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive and the wheel that was built from it."""
    pytest.importorskip("build", reason="needs build and hatchling: pip install -e .[dev]")
    pytest.importorskip("hatchling", reason="needs build and hatchling: pip install -e .[dev]")
    folder = tmp_path_factory.mktemp("dist")
    done([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT], cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(next(built.glob("*.whl")))


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    return email.message_from_bytes(wheel.read(next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))))


@pytest.fixture(scope="module")
def clean(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of a new environment in which the wheel is installed. What it needs lies in this suite's environment: nothing is
    downloaded, and what that environment itself knows of imgstream is not seen.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    commands = folder / ("Scripts" if os.name == "nt" else "bin")
    done([commands / "python", "-m", "pip", "install", "--no-index", "--no-deps", next(built.glob("*.whl"))], cwd=folder)
    paths = {"base": str(folder), "platbase": str(folder)}
    needed = "\n".join(dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib")))
    (Path(sysconfig.get_path("purelib", "venv", vars=paths)) / "needed.pth").write_text(needed)  # .pth files in there are not read
    return commands


def test_the_source_archive_holds_the_package_and_what_describes_it(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {name.split("/")[0] for name in names} == {
        "imgstream",
        "CHANGELOG.md",
        "LICENSE",
        "PKG-INFO",
        "README.md",
        "pyproject.toml",
        ".gitignore",
    }
    assert {name for name in names if name.endswith(".py")} == {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "imgstream").rglob("*.py")
    }


def test_the_wheel_holds_the_package_its_types_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    about = f"imgstream-{project()['version']}.dist-info"
    names = wheel.namelist()
    assert {name.split("/")[0] for name in names} == {"imgstream", about}
    assert {"imgstream/py.typed", f"{about}/licenses/LICENSE"} <= set(names)
    assert {name for name in names if name.endswith(".py")} == {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "imgstream").rglob("*.py")
    }


def test_the_wheel_says_what_it_is_and_needs(metadata: email.message.Message) -> None:
    of = project()
    assert (metadata["Name"], metadata["Version"], metadata["License-Expression"]) == ("imgstream", of["version"], "MIT")
    assert metadata["Requires-Python"] == of["requires-python"] == ">=3.11"
    versions = {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)}
    assert versions | {"Typing :: Typed"} <= set(metadata.get_all("Classifier", []))
    assert set(metadata.get_all("Provides-Extra", [])) == set(of["optional-dependencies"]) >= {"gpu", "heic", "dev"}
    requirements = metadata.get_all("Requires-Dist", [])
    assert "pillow-heif>=0.21; extra == 'heic'" in requirements
    assert len([line for line in requirements if "extra ==" not in line]) == len(of["dependencies"])
    assert metadata.get_payload().startswith("# imgstream\n")


def test_the_installed_command_tells_its_version_and_lists_a_folder(clean: Path, tmp_path: Path) -> None:
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    assert cv2.imwrite(str(tmp_path / "photos" / "cats" / "1.jpg"), np.zeros((9, 9, 3), np.uint8))
    assert done([clean / "imgstream", "--version"], tmp_path).startswith(f"imgstream {project()['version']}, Python 3.")
    assert "cats" in done([clean / "imgstream", "index", "photos"], tmp_path)


def test_the_installed_package_is_the_wheels_and_brings_no_tests(clean: Path, tmp_path: Path) -> None:
    code = """
import importlib.util, imgstream
from importlib.metadata import packages_distributions, version
from pathlib import Path
assert importlib.util.find_spec("tests") is None
print(imgstream.__version__, version("imgstream"), Path(imgstream.__file__).with_name("py.typed").is_file(), imgstream.__file__)
"""
    told, known, typed, file = done([clean / "python", "-c", code], tmp_path).split(maxsplit=3)
    assert (told, known, typed) == (project()["version"], project()["version"], "True")
    assert Path(file.strip()).is_relative_to(clean.parent)


def test_every_extra_is_named_in_the_documents() -> None:
    pages = "".join(page.read_text("utf-8") for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
    extras = set(project()["optional-dependencies"]) - {"dev"}
    assert extras >= {"gpu", "heic"}
    assert {extra for extra in extras if f"[{extra}]" in pages} == extras
