"""The project's kernels/*.cu on a machine without a GPU: their text as it is, run on the CPU.

from tests import cuda_on_cpu

cuda_on_cpu.enable(schedule="random", seed=3)
caffepy.set_mode_gpu()                          # this process's GPU is now the emulated one

Seen in every launch: accesses past the end of device arrays and of dynamic shared memory (to 16 bytes), misaligned
vectors, null pointers, divergent barriers, deadlocks, arguments and sizes that CuPy or a GPU would not take. What
nobody wrote reads as NaN.
Seen by comparing schedules: most missing barriers and most races between blocks.
Seen under sanitizers (sanitize.py): races, and accesses past the end of anything, shared and local arrays too.

Seen on a `late` device, which does nothing before somebody waits: what the host writes too early.

Not seen: speed, occupancy, bank conflicts, coalescing; a missing synchronization between streams, for there is one;
registers, static shared memory over the limit and what NVRTC refuses (tests/kernels sees
these); the last bits of fast functions; the changing order of float atomics; blocks that wait for other blocks, which
hang; clusters, TMA, wgmma and grid-wide barriers, which do not compile.
"""

from tests.cuda_on_cpu.array import DeviceArray
from tests.cuda_on_cpu.build import unavailable
from tests.cuda_on_cpu.device import EmulatedCuda, Graph

__all__ = ["DeviceArray", "EmulatedCuda", "Graph", "enable", "unavailable"]


def enable(schedule: str = "ascending", seed: int = 0) -> EmulatedCuda:
    """Make `caffepy.set_mode_gpu()` of this process mean an emulated device, and return that device."""
    import caffepy.device

    device = EmulatedCuda(schedule, seed)
    caffepy.device.use(device)
    return device
