"""imgstream --version."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys

import imgstream


def test_the_versions_are_one_line_and_nothing_heavy_is_imported_to_tell() -> None:
    code = """
import sys
from imgstream.cli import main
try:
    main(["--version"])
finally:
    print(sorted({"keras", "tensorflow", "cv2", "albumentations"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    keras, tensorflow = map(importlib.metadata.version, ("keras", "tensorflow"))
    told = f"imgstream {imgstream.__version__}, Python {platform.python_version()}, keras {keras}, tensorflow {tensorflow}"
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{told}\n[]\n", "")


def test_the_package_has_the_version_that_is_installed() -> None:
    assert imgstream.__version__ == importlib.metadata.version("imgstream")
