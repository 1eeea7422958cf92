from __future__ import annotations

from pathlib import Path

import pytest

from imgstream.training.step.precision import choose_precision


@pytest.mark.parametrize(
    ("flags", "policy"),
    [
        ("fpu avx512f avx512_bf16 fma", "mixed_bfloat16"),
        ("amx_bf16 amx_tile", "mixed_bfloat16"),
        ("fpu avx2 avx512f", "float32"),
        ("", "float32"),
    ],
)
def test_auto_is_mixed_where_the_processor_has_instructions_for_it(flags: str, policy: str, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    assert choose_precision("auto", cpuinfo)[0] == policy
    assert choose_precision("float32", cpuinfo)[0] == "float32"
    assert choose_precision("mixed", cpuinfo)[0] == "mixed_bfloat16"


def test_where_there_is_no_cpuinfo_auto_is_float32(tmp_path: Path) -> None:
    assert choose_precision("auto", tmp_path / "none")[0] == "float32"
