"""Kernel files as the compiler gets them: constants first, then the text with its local includes written in."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from caffepy.errors import KernelError

Constant = int | float | bool


def folder() -> Path:
    """Where the .cu files are: a checkout's kernels/, else the installed caffepy/_cuda/."""
    package = Path(__file__).parents[1]
    checkout = package.parent / "kernels"
    return checkout if (checkout / "basis" / "common.cuh").is_file() else package / "_cuda"


@cache
def files() -> dict[str, Path]:
    """The files of all rooms of `folder()`, by name: each name is there once."""
    return {path.name: path for path in folder().rglob("*.cu*")}


@cache
def text(file: str) -> str:
    """The file, one of `files()` or anywhere by its whole path, with its `#include "..."` written in, each file once.

    What it includes is looked for beside it if it was given by path, then among `files()`.
    CuPy's disk cache knows a kernel by its text and options alone, so a header reached through -I could change unseen.
    """
    seen: set[str] = set()
    own = Path(file).is_absolute()
    place = Path(file).parent if own else folder()

    def expand(name: str) -> str:
        path = place / name if own and (place / name).is_file() else files().get(name)
        if path is None:
            remedy = "give a path that there is" if own else "the installation is not whole, install it again"
            raise KernelError(f"kernel file {place / name} is missing: {remedy}")
        lines = [f'#line 1 "{name}"']
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            include = re.match(r'\s*#include\s+"(.+)"', line)
            if include is None:
                lines.append("" if line.strip() == "#pragma once" else line)
            elif include[1] not in seen:
                seen.add(include[1])
                lines += [expand(include[1]), f'#line {number + 1} "{name}"']
            else:
                lines.append("")
        return "\n".join(lines)

    return expand(Path(file).name) + "\n"


def assemble(file: str, constants: Mapping[str, Constant]) -> str:
    """What is compiled: `constexpr` lines for the constants, then the file."""
    return "\n".join([*(_definition(name, value) for name, value in constants.items()), text(file)])


def _definition(name: str, value: Constant) -> str:
    if isinstance(value, bool):
        return f"constexpr bool {name} = {str(value).lower()};"
    if isinstance(value, int):
        return f"constexpr int {name} = {value};"
    if not math.isfinite(value):
        special = "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
        raise KernelError(f"constant {name} is {special}; a kernel file must name it by a macro of its own")
    return f"constexpr float {name} = {value!r}f;"


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel: its type without const and __restrict__, and its name."""

    kind: str
    name: str


@cache
def parameters(file: str, entry: str) -> tuple[Parameter, ...]:
    """The parameters of kernel `entry`, read from the file's text. Raises KernelError where there is none."""
    bounds = r"(?:__launch_bounds__\([^)]*\)\s+)?"
    pattern = rf'extern\s+"C"\s+__global__\s+{bounds}void\s+{bounds}{entry}\s*\(([^)]*)\)'
    found = re.search(pattern, text(file))
    if found is None:
        raise KernelError(f'kernel file {file} has no `extern "C" __global__ void {entry}(...)`')
    listed = []
    for parameter in found[1].split(","):
        words = re.sub(r"\bconst\b|__restrict__", " ", parameter).replace("*", "* ").split()
        listed.append(Parameter("".join(words[:-1]), words[-1]))
    return tuple(listed)
