from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jax", reason="JAX is not installed")

SCRIPT = """
import json, sys, jax, numpy as np
import imgstream as ims
from imgstream.models import build_model
from imgstream.models.forward import Forward, Program

model = build_model("cnn", (32, 32, 3), 2)
Forward(Program(model, ims.SampleSpec(size=(32, 32))), 2)(np.zeros((2, 32, 32, 3), np.uint8))
print(json.dumps({"folder": jax.config.jax_compilation_cache_dir}))
"""


def built(home: Path, **environment: str) -> Any:
    """What a new process says that builds a model on JAX and runs it once, with its cache folder at `home`."""
    variables = {**os.environ, "KERAS_BACKEND": "jax", "IMGSTREAM_CACHE": str(home), **environment}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env=variables)
    return json.loads(done.stdout)


def programs(home: Path) -> set[str]:
    return {path.name for path in (home / "programs").rglob("*-cache")}


@pytest.mark.slow
def test_programs_are_kept_for_the_next_process_in_a_folder_of_the_users_alone(tmp_path: Path) -> None:
    folder = Path(built(tmp_path)["folder"])
    assert folder.parent == tmp_path / "programs"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    first = programs(tmp_path)
    assert any(name.startswith("jit_forward") for name in first)
    built(tmp_path)
    assert programs(tmp_path) == first


@pytest.mark.slow
def test_nothing_is_kept_or_taken_where_others_may_write_and_what_the_user_has_set_stands(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    assert built(shared)["folder"] is None
    assert programs(shared) == set()
    own = str(tmp_path / "own")
    assert built(tmp_path / "home", JAX_COMPILATION_CACHE_DIR=own)["folder"] == own
    assert not (tmp_path / "home").exists()
