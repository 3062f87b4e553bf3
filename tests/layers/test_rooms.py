"""The rooms: a layer, its kernels and its tests stand in rooms of one name."""

from collections import Counter
from pathlib import Path

import pytest

from caffepy.kernels import ALL
from caffepy.layer import TYPES
from tests.shared import ROOT

PACKAGES, ROOMS = (
    {folder.name for folder in place.iterdir() if (folder / "__init__.py").is_file()}
    for place in (ROOT / "caffepy", ROOT / "caffepy" / "layers")
)
FAMILIES = {
    "activation": "elementwise",
    "common": "margin_inner_product",
    "data": "golden_data",
    "recurrent": "recurrent",
}
"""By room, the file that tests the types whose module has none of its own."""
KERNELS = [*(ROOT / "kernels").rglob("*.cu*")]


@pytest.mark.parametrize("place", ["kernels", "tests/layers", "tests/kernels_on_cpu"])
def test_every_folder_is_a_room(place: str) -> None:
    folders = {folder.name for folder in (ROOT / place).iterdir() if folder.is_dir() and folder.name != "__pycache__"}
    assert folders <= (ROOMS if "layers" in place else ROOMS | PACKAGES)


def test_a_kernel_file_stands_in_the_room_of_its_operations_or_below_all_of_them() -> None:
    rooms = {file.name: file.parent.name for file in KERNELS}
    for operation in ALL.values():
        place = operation.twin.__module__.split(".")
        room = place[2] if place[1] == "layers" else place[1]
        assert rooms[operation.file] in (room, "basis"), operation.name


def test_no_two_kernel_files_have_one_name() -> None:
    names = Counter(file.name for file in KERNELS)
    assert [name for name, times in names.items() if times > 1] == []


def test_no_room_is_a_hall() -> None:
    folders = [Path(place) / room for place in ("caffepy/layers", "kernels", "tests/layers") for room in ROOMS]
    counts = {folder: len([*(ROOT / folder).glob("*.*")]) for folder in folders}
    assert {folder: count for folder, count in counts.items() if count > 30} == {}


def test_the_tests_of_a_type_are_found_by_its_name() -> None:
    for name, layer in TYPES.items():
        if layer.__module__.startswith("caffepy.layers."):
            _, _, room, module = layer.__module__.split(".")
            places = [ROOT / "tests" / "layers" / room / f"test_{file}.py" for file in (module, FAMILIES.get(room))]
            found = next((file for file in places if file.is_file()), None)
            assert found, f"{name}: {places[0]} is missing"
            assert found == places[-1] or f'"{name}"' in found.read_text(encoding="utf-8"), f"{name}: not in {found}"
