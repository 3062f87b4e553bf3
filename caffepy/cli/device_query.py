"""`caffepy device-query`: which GPUs there are, why one cannot be used, and what passes on the CPU run on."""

import json
from typing import Any

import click

from caffepy import device
from caffepy.cli import gpus
from caffepy.cli.command import Subcommand
from caffepy.device.engine import cpu_engine, cpu_engine_reason
from caffepy.device.threads import threads
from caffepy.errors import DeviceError


@click.command("device-query", cls=Subcommand)
@click.option("--gpu", default="all", show_default=True, metavar="N,...|all", help="The GPUs' numbers.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def device_query(gpu: str, as_json: bool) -> None:
    """Print what the GPUs are that nets can run on, or why there is none; then the CPU's engine.

    The exit code is 1 where a GPU that was asked for by its number cannot be used.
    """
    asked = gpus.numbers(gpu)
    found = [_describe(index) for index in (range(gpus.count()) if asked is None else asked)]
    nothing = None if found else _describe(0)["why_not"]
    cpu = {"engine": cpu_engine(), "which": cpu_engine_reason(), "threads": threads()}
    if as_json:
        click.echo(json.dumps({"gpus": found, "why_none": nothing, "cpu": cpu}, indent=2))
    else:
        click.echo("\n\n".join(map(_text, found)) or f"no GPU: {nothing}; nets run on the CPU")
        click.echo(f"\n{'CPU':20}{cpu['which']}, {cpu['threads']} thread(s)")
    if asked is not None and any(gpu["why_not"] for gpu in found):
        raise click.exceptions.Exit(1)


def _describe(index: int) -> dict[str, Any]:
    try:
        gpu = device.gpu(index)
    except DeviceError as error:
        return {"index": index, "why_not": str(error).partition("cannot be used: ")[2] or str(error)}
    return {
        "index": index,
        "why_not": None,
        "name": gpu.title,
        "compute_capability": f"{gpu.compute_capability // 10}.{gpu.compute_capability % 10}",
        "multiprocessors": gpu.multiprocessors,
        "shared_memory_per_block": gpu.max_shared_bytes,
        "peak_tflops": round(gpu.peak_flops / 1e12, 1),
        **_cuda(index),
    }


def _cuda(index: int) -> dict[str, Any]:
    """What CuPy itself knows of the GPU, with the versions in use."""
    import cupy

    free, total = cupy.cuda.Device(index).mem_info
    versions = {
        "driver": _version(cupy.cuda.runtime.driverGetVersion()),
        "runtime": _version(cupy.cuda.runtime.runtimeGetVersion()),
        "nvrtc": ".".join(map(str, cupy.cuda.nvrtc.getVersion())),
        "cupy": cupy.__version__,
    }
    return {"memory": total, "memory_free": free, "versions": versions}


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _text(gpu: dict[str, Any]) -> str:
    if gpu["why_not"]:
        return f"GPU {gpu['index']} cannot be used: {gpu['why_not']}"
    versions = gpu["versions"]
    rows = {
        f"GPU {gpu['index']}": gpu["name"],
        "compute capability": gpu["compute_capability"],
        "memory": f"{gpu['memory'] / 2**30:.1f} GiB, {gpu['memory_free'] / 2**30:.1f} GiB of it free",
        "multiprocessors": f"{gpu['multiprocessors']}",
        "shared memory": f"{gpu['shared_memory_per_block'] / 1024:.0f} KiB a block at most",
        "peak, float32": f"{gpu['peak_tflops']:.1f} TFLOP/s",
        "CUDA": f"driver {versions['driver']}, runtime {versions['runtime']}, NVRTC {versions['nvrtc']}",
        "CuPy": versions["cupy"],
    }
    return "\n".join(f"{name:20}{value}" for name, value in rows.items())
