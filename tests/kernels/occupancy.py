"""How many blocks run at once on a multiprocessor, from what a kernel needs and what the hardware has.

Source: the CUDA C++ Programming Guide's table of technical specifications, and cuda_occupancy.h of the toolkit.
"""

from dataclasses import dataclass

_WARP = 32
_REGISTERS = 65536  # of a multiprocessor, on all of these architectures
_REGISTERS_OF_A_THREAD = 255
_REGISTER_UNIT = 256  # registers are given to warps in units of this
_PARTITIONS = 4  # of a multiprocessor; a warp's registers lie in one


@dataclass(frozen=True)
class Multiprocessor:
    """What one multiprocessor has for blocks to share."""

    warps: int
    blocks: int
    shared_bytes: int
    shared_bytes_of_a_block: int
    """The most that one block may have, static and dynamic together, after opting in."""
    shared_bytes_reserved: int
    """That each block takes beyond its own."""
    shared_unit: int


MULTIPROCESSORS = {
    75: Multiprocessor(32, 16, 64 * 1024, 64 * 1024, 0, 256),
    80: Multiprocessor(64, 32, 164 * 1024, 163 * 1024, 1024, 128),
    86: Multiprocessor(48, 16, 100 * 1024, 99 * 1024, 1024, 128),
    89: Multiprocessor(48, 24, 100 * 1024, 99 * 1024, 1024, 128),
    90: Multiprocessor(64, 32, 228 * 1024, 227 * 1024, 1024, 128),
    100: Multiprocessor(64, 32, 228 * 1024, 227 * 1024, 1024, 128),
    120: Multiprocessor(48, 24, 100 * 1024, 99 * 1024, 1024, 128),
}
"""By compute capability."""


def blocks_per_multiprocessor(arch: int, threads: int, registers: int, shared_bytes: int) -> int:
    """Blocks of `threads` threads, `registers` a thread and `shared_bytes` a block that run at once; 0: none fits."""
    has = MULTIPROCESSORS[arch]
    if shared_bytes > has.shared_bytes_of_a_block or registers > _REGISTERS_OF_A_THREAD:
        return 0
    warps = _up(threads, _WARP) // _WARP
    warps_with_registers = _REGISTERS // _PARTITIONS // _up(registers * _WARP, _REGISTER_UNIT) * _PARTITIONS
    limits = [has.blocks, has.warps // warps, warps_with_registers // warps]
    shared = _up(shared_bytes + has.shared_bytes_reserved, has.shared_unit)
    if shared:
        limits.append(has.shared_bytes // shared)
    return min(limits)


def _up(count: int, unit: int) -> int:
    return -(-count // unit) * unit
