"""Compiled kernel files and the runtime they need, cached on disk by content.

CAFFEPY_CUDA_ON_CPU_CACHE      the folder of compiled objects; by default in the user's cache folder
CAFFEPY_CUDA_ON_CPU_SANITIZER  "address" or "thread": what this process's builds are instrumented with; sanitize.py
                               sets it, and with it CAFFEPY_CUDA_ON_CPU_REPORT, the file that reports go to
"""

import ctypes
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from caffepy.errors import KernelError

EMULATION = Path(__file__).parent / "emulation"
TWINS = EMULATION / "twins"
SANITIZER = os.environ.get("CAFFEPY_CUDA_ON_CPU_SANITIZER", "")

_COMMON = ["-std=gnu++17", "-fPIC", "-shared", "-pthread", f"-I{EMULATION}"]
_DIALECT = [
    *("-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-strict-aliasing"),
    *("-fvisibility=hidden", "-fmax-errors=5", "-w"),
]
_KERNELS = {
    "": ["-O2"],
    "address": ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-DEMU_ADDRESS"],
    "thread": ["-O1", "-g", "-fsanitize=thread", "-DEMU_THREAD"],
}
# Not instrumented: what the runtime does is not the kernels' doing. Thread-local variables and calls inside it are
# reached directly, for a switch between threads counts in nanoseconds.
_DIRECT = ["-O2", "-g", "-ftls-model=initial-exec", "-fno-semantic-interposition", "-Wl,-Bsymbolic-functions"]
_RUNTIME = {"": _DIRECT, "address": [*_DIRECT, "-DEMU_ADDRESS"], "thread": [*_DIRECT, "-DEMU_THREAD"]}

_PARENTHESES = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
_BOUNDS = rf"__launch_bounds__\s*({_PARENTHESES})"
_KERNEL = re.compile(rf'extern\s+"C"\s+((?:[\w\s]|{_BOUNDS})*?)\b(?!__launch_bounds__)(\w+)\s*(?=\()')
_DYNAMIC_SHARED = re.compile(r"\bextern\s+([^;{}()]*(?:\([^()]*\)[^;{}()]*)*?)\b(\w+)\s*\[\s*\]\s*;")
_ENTERED = re.compile(r'^#line\s+\d+\s+"([^"]*)"', re.MULTILINE)


def unavailable() -> str | None:
    """Why kernels cannot be run here, or None."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return f"kernels run on the CPU on x86-64 Linux only, not on {platform.machine()} {platform.system()}"
    if shutil.which(compiler()) is None:
        return f"kernels run on the CPU only with a C++ compiler: no {compiler()} found; install it or set CXX"
    return None


def library(source: str, file: str, compute_capability: int) -> ctypes.CDLL:
    """`source`, the text of a kernel file with its local includes written in, compiled and loaded.

    Every kernel `k` in it gives emu_run_k, emu_code_k (its parameters) and emu_threads_k (the most it may be given).
    Raises KernelError with the compiler's words.
    """
    runtime()
    text = _translated(source, file)
    flags = [*_COMMON, *_DIALECT, *_KERNELS[SANITIZER], f"-I{TWINS}", f"-DEMU_CUDA_ARCH={compute_capability}0"]
    headers = _contents(*sorted(EMULATION.glob("*.h")), *sorted(TWINS.iterdir()))
    return ctypes.CDLL(str(cached(Path(file).stem, text, headers, flags)))


@functools.cache
def runtime() -> ctypes.CDLL:
    """The scheduler, launcher and device memory, loaded for the kernels to find."""
    reason = unavailable()
    if reason is not None:
        raise KernelError(reason)
    if SANITIZER == "address":  # UBSan, loaded only now, does not heed log_path
        ctypes.CDLL("libubsan.so.1").__sanitizer_set_report_path(os.environ["CAFFEPY_CUDA_ON_CPU_REPORT"].encode())
    text = "".join(f'#include "{file.name}"\n' for file in sorted(EMULATION.glob("*.cpp")))
    sources = _contents(*sorted(EMULATION.glob("*.cpp")), *sorted(EMULATION.glob("*.h")))
    path = cached("emulation", text, sources, [*_COMMON, *_RUNTIME[SANITIZER]])
    loaded = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    loaded.emu_allocate.restype = ctypes.c_void_p
    loaded.emu_allocate.argtypes = [ctypes.c_size_t]
    loaded.emu_free.argtypes = [ctypes.c_void_p]
    return loaded


def kernels(source: str) -> dict[str, str]:
    """The kernels of `source`: name to __launch_bounds__'s arguments in parentheses, "(1024)" where it has none."""
    found = {}
    for match in _KERNEL.finditer(_without_comments(source)):
        if "__global__" in match[1]:
            bounds = re.search(_BOUNDS, match[1])
            found[match[3]] = bounds[1] if bounds else "(1024)"
    return found


def _translated(source: str, file: str) -> str:
    exports = "".join(f"EMU_EXPORT({name}, EMU_FIRST{bounds})\n" for name, bounds in kernels(source).items())
    body = _with_dynamic_shared(_with_twins(source), file)
    return (
        f'#include "cuda_emulation.h"\n#line 1 "{file}"\n{body}\n'
        f'#line 1 "exports of {file}"\n#include "cuda_export.h"\n{exports}'
    )


def _with_twins(source: str) -> str:
    """`source` with every written-in header that has a twin here replaced by it.

    The header reaches from its `#line 1 "name"` to the next #line of another file.
    """
    pieces, position = [], 0
    twins = {twin.name for twin in TWINS.iterdir()}
    for start in _ENTERED.finditer(source):
        name = Path(start[1]).name
        if name not in twins or start.start() < position:
            continue
        leaving = (m for m in _ENTERED.finditer(source, start.end()) if Path(m[1]).name != name)
        end = next((m.start() for m in leaving), len(source))
        pieces += [source[position : start.start()], f'#include "{name}"\n']
        position = end
    return "".join([*pieces, source[position:]])


def _with_dynamic_shared(source: str, file: str) -> str:
    """`extern __shared__ float s[];` as a pointer: C++ has no array of a size known only at the launch."""
    bare = _without_comments(source)

    def pointer(match: re.Match[str]) -> str:
        if "__shared__" not in match[1]:
            return match[0]
        before = bare[: match.start()]
        if before.count("{") == before.count("}"):
            raise KernelError(f"{file}: declare `{match[0]}` inside the function that uses it, not at file scope")
        kind = re.sub(rf"__shared__|__align__\s*{_PARENTHESES}|alignas\s*{_PARENTHESES}", "", match[1]).strip()
        return f"{kind}* const {match[2]} = static_cast<{kind}*>(emu::dynamic_shared());"

    return _DYNAMIC_SHARED.sub(pointer, source)


def _without_comments(text: str) -> str:
    """`text` with blanks for its comments, so that places stay where they are."""
    comment = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
    return comment.sub(lambda m: m[0] if m[0].startswith('"') else re.sub(r"[^\n]", " ", m[0]), text)


def cached(stem: str, text: str, headers: str, flags: list[str]) -> Path:
    """`text` compiled with `flags` into a shared object, kept by content; `headers` is what it may include.

    Where the headers lie does not count, so that several checkouts have one object in common.
    """
    dialect = [flag for flag in flags if not flag.startswith("-I")]
    key = hashlib.sha256("\0".join([text, headers, *dialect, _machine()]).encode()).hexdigest()[:24]
    folder = cache_folder()
    target = folder / f"{stem}-{key}.so"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # Written beside and renamed: several processes may build the same object at once.
        with tempfile.TemporaryDirectory(dir=folder) as beside:
            written = Path(beside, f"{stem}.cpp")
            written.write_text(text)
            built = Path(beside, "built.so")
            command = [compiler(), *flags, str(written), "-o", str(built)]
            # Under a sanitizer this process has its library preloaded, which is not for the compiler.
            environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"} | {"LC_ALL": "C"}
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode != 0:
                raise KernelError(f"{stem}: {compiler()} cannot compile it\n{done.stderr[:4000]}")
            built.rename(target)
    return target


def cache_folder() -> Path:
    """Where compiled objects are kept."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "caffepy" / "cuda_on_cpu"
    return Path(os.environ.get("CAFFEPY_CUDA_ON_CPU_CACHE", default))


def compiler() -> str:
    """The C++ compiler's command."""
    return os.environ.get("CXX", "g++")


@functools.cache
def _contents(*files: Path) -> str:
    return "\0".join(file.read_text() for file in files)


@functools.cache
def _machine() -> str:
    """What -march=native and a compiler's name stand for here."""
    version = subprocess.run([compiler(), "--version"], capture_output=True, text=True).stdout
    flags = re.search(r"^flags.*$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return f"{version}{flags and flags[0]}"
