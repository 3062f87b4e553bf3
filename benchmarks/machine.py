"""What a figure depends on: processor, cores, versions. No names of hosts, users or folders."""

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

import caffepy


def facts() -> dict[str, Any]:
    """For the head of a result."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "processor": _processor(),
        "cores": cores(),
        "system": platform.system(),
        "python": platform.python_version(),
        "blas": f"{blas['name']} {blas['version']}",
        "caffepy": caffepy.__version__,
        **{name: _version(name) for name in ("numpy", "torch")},
    }


def busy(seconds: float = 1.0) -> float | None:
    """The share of the processors' time that others take while this process sleeps; None where Linux does not tell."""
    before = _ticks()
    time.sleep(seconds)
    after = _ticks()
    if before is None or after is None:
        return None
    total = after[0] - before[0]
    return round((after[1] - before[1]) / total, 3) if total else None


def _ticks() -> tuple[int, int] | None:
    """Of all processors since the start: all, and those that were not idle."""
    try:
        with open("/proc/stat") as file:
            ticks = [int(number) for number in file.readline().split()[1:9]]
    except OSError:
        return None
    return sum(ticks), sum(ticks) - ticks[3] - ticks[4]


def gpu_facts() -> dict[str, Any]:
    """Of GPU 0, for the head of a result."""
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(0)
    return {
        "gpu": properties["name"].decode(),
        "compute capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "memory GiB": round(properties["totalGlobalMem"] / 2**30, 1),
        "L2 MiB": round(l2_cache() / 2**20, 1),
        "driver": _driver(),
        "CUDA of the driver": _cuda(cupy.cuda.runtime.driverGetVersion()),
        "CUDA runtime": _cuda(cupy.cuda.runtime.runtimeGetVersion()),
        "NVRTC": ".".join(map(str, cupy.cuda.nvrtc.getVersion())),
        "cupy": cupy.__version__,
        **_torch_facts(),
    }


def l2_cache() -> int:
    """Bytes of GPU 0's."""
    import cupy

    return int(cupy.cuda.Device(0).attributes["L2CacheSize"])


def _torch_facts() -> dict[str, Any]:
    try:
        import torch
    except ImportError:
        return {}
    cudnn = torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None
    return {"PyTorch's CUDA": torch.version.cuda, "PyTorch's cuDNN": cudnn}


def _driver() -> str | None:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _cuda(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def cores() -> int:
    """Those this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
