"""Blocks per multiprocessor, against figures that NVIDIA's occupancy calculator gives."""

import pytest

from tests.kernels.occupancy import blocks_per_multiprocessor


@pytest.mark.parametrize(
    ("arch", "threads", "registers", "shared_bytes", "blocks"),
    [
        (90, 256, 32, 0, 8),  # threads
        (90, 32, 16, 0, 32),  # blocks
        (89, 32, 16, 0, 24),
        (86, 32, 16, 0, 16),
        (90, 256, 64, 0, 4),  # registers
        (90, 256, 65, 0, 3),
        (90, 96, 168, 0, 4),  # 12 warps have registers, 3 on each partition
        (90, 1024, 65, 0, 0),
        (80, 128, 32, 48 * 1024, 3),  # shared memory: 164 KiB in pieces of 49
        (90, 128, 32, 48 * 1024, 4),
        (75, 128, 32, 32 * 1024, 2),
        (120, 128, 32, 99 * 1024, 1),
        (120, 128, 32, 99 * 1024 + 1, 0),
        (90, 128, 32, 227 * 1024, 1),
        (100, 384, 40, 1, 4),
    ],
)
def test_blocks_per_multiprocessor(arch: int, threads: int, registers: int, shared_bytes: int, blocks: int) -> None:
    assert blocks_per_multiprocessor(arch, threads, registers, shared_bytes) == blocks
