"""What the emulation asks of kernels/: inline PTX in one header, and a twin here for each of its functions."""

import re

from tests.cuda_on_cpu import build
from tests.shared import ROOT

KERNELS = ROOT / "kernels"


def functions(text: str, keyword: str) -> set[str]:
    return set(re.findall(rf"^[^\n/]*\b{keyword}\b[^;{{(=]*?\b(\w+)\(", text, re.MULTILINE))


def test_every_function_of_ptx_cuh_has_a_twin() -> None:
    header = KERNELS / "basis" / "ptx.cuh"
    missing = functions(header.read_text(), "__device__") - functions((build.TWINS / "ptx.cuh").read_text(), "inline")
    assert missing == set()


def test_inline_ptx_is_in_ptx_cuh_alone() -> None:
    files = [file for file in KERNELS.rglob("*") if file.suffix in (".cu", ".cuh") and file.name != "ptx.cuh"]
    assert [file.name for file in files if re.search(r"\basm\b", file.read_text())] == []
