"""The stand-in for the driver, and CuPy's runtime module linked with it: built once, cached by content."""

import hashlib
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from tests.cuda_on_cpu import build

DRIVER = Path(__file__).parent / "driver"
SOURCES = "CAFFEPY_CUPY_SOURCES"
_PYX = "cupy_backends/cuda/api/runtime.pyx"
_DIRECTIVES = "embedsignature=True,binding=False,c_api_binop_methods=True"


def unavailable() -> str | None:
    """What is missing here for CuPy to run on the CPU, or None."""
    if reason := build.unavailable():
        return reason
    if not _installed("cupy"):
        return "CuPy is not installed"
    if not _installed("Cython"):
        return "Cython is not installed"
    if not _archive().exists():
        return f"CuPy's source is not in {_archive()}; .ci/cupy fetches it, {SOURCES} says where it is"
    if not any((folder / "cuda.h").exists() for folder in _headers()):
        return "CUDA's headers are not installed: pip install nvidia-cuda-runtime"
    return None


def driver() -> Path:
    """libcuda.so.1."""
    files = sorted(DRIVER.iterdir())
    contents = "\0".join(file.read_text() for file in files)
    flags = ["-std=c++17", "-O1", "-g", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread", f"-I{DRIVER}"]
    flags += [*_includes(), "-Wl,-soname,libcuda.so.1", "-Wl,-z,defs", "-ldl"]
    text = '#include "driver.cpp"\n#include "runtime.cpp"\n'
    return build.cached("cuda_driver", text, contents + _cuda_version(), flags)


def runtime() -> Path:
    """CuPy's cupy_backends.cuda.api.runtime over `driver`."""
    include, translated = sysconfig.get_paths()["include"], _translated()
    flags = ["-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-w", *_includes(), f"-I{include}"]
    flags.append(f"-I{translated.parent}")
    flags += ["-Wl,--no-as-needed", str(driver())]
    return build.cached("cupy_runtime", translated.read_text(), driver().name + sys.version, flags)


def _translated() -> Path:
    """CuPy's runtime.pyx as C++."""
    cython = metadata.version("Cython")
    key = hashlib.sha256("\0".join([_archive().name, cython, _cuda_version(), sys.version]).encode()).hexdigest()[:24]
    target = build.cache_folder() / f"cupy-{key}" / Path(_PYX).parent / "runtime.cpp"
    if not target.exists():
        build.cache_folder().mkdir(parents=True, exist_ok=True)
        constants = (
            f"CUPY_USE_CUDA_PYTHON=False,CUPY_CUFFT_STATIC=False,CUPY_HIP_VERSION=0,CUPY_CYTHON_VERSION={cython},"
            f"CUPY_CUDA_VERSION={_cuda_version()}"
        )
        command = [sys.executable, "-m", "cython", "-3", "--cplus", "-X", _DIRECTIVES, "-E", constants, _PYX]
        command += ["-o", _PYX.replace(".pyx", ".cpp")]
        with tempfile.TemporaryDirectory(dir=build.cache_folder()) as beside, tarfile.open(_archive()) as archive:
            wanted = [member for member in archive.getmembers() if "/cupy_backends/" in member.name]
            archive.extractall(beside, wanted, filter="data")
            (folder,) = Path(beside).iterdir()
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            if done.returncode != 0:
                raise RuntimeError(f"Cython cannot translate CuPy's {_PYX}:\n{done.stderr[-4000:]}")
            with suppress(OSError):  # another process was quicker
                folder.rename(target.parents[3])
    return target


def _archive() -> Path:
    """CuPy's source package of the installed version."""
    version = next((metadata.version(name) for name in metadata.packages_distributions().get("cupy", ())), "")
    return Path(os.environ.get(SOURCES, ".")) / f"cupy-{version}.tar.gz"


def _installed(package: str) -> bool:
    return package in metadata.packages_distributions()


def _headers() -> list[Path]:
    """Where pip's CUDA packages have put their headers."""
    return sorted(Path(sysconfig.get_paths()["purelib"]).glob("nvidia/*/include"))


def _includes() -> list[str]:
    return [f"-I{folder}" for folder in _headers()]


def _cuda_version() -> str:
    text = next((folder / "cuda.h").read_text() for folder in _headers() if (folder / "cuda.h").exists())
    found = re.search(r"define CUDA_VERSION (\d+)", text)
    assert found
    return found[1]
