"""Nets of the corpus with their own data layers, on small stand-ins for their files; and what they say without them."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

import caffepy
from caffepy import graph
from caffepy.data import DatabaseWriter
from caffepy.errors import CaffeError
from caffepy.filler import Filler
from caffepy.io import array_to_blobproto, array_to_datum
from caffepy.layer import TYPES
from caffepy.net.weights import read_definition
from caffepy.proto.caffe_pb2 import TEST, TRAIN, DataParameter, LayerParameter, NetParameter, NetState
from tests.corpus import stand_ins
from tests.corpus.test_corpus import BATCH, FOLDER, NOT_BUILT, nets, stated_shapes, whole
from tests.shared import shared

FILES = {"Data": "data_param", "ImageData": "image_data_param", "WindowData": "window_data_param"} | {
    "HDF5Data": "hdf5_data_param"
}
"""The types that read files, and the message that names them."""
LEFT_OUT = {
    "3dnormal_joint_pose": "its fork's Data gives 2500 labels to an item",
    "test_WRN_22": "made for TEST: it drops everything in TRAIN",
}
"""By a part of the file's name."""


@pytest.fixture(autouse=True)
def _without_fillers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Filler, "fill", lambda self, values: None)


def cases() -> list[tuple[str, int]]:
    """Files and phases whose nets read files through layers that caffepy has."""
    found = []
    for file in nets():
        if any(part in file for part in (*NOT_BUILT, *LEFT_OUT)):
            continue
        definition = read_definition(shared(f"{FOLDER}/{file}"))
        for phase in (TRAIN, TEST):
            param = graph.filter_net(definition, NetState(phase=phase))
            types = {layer.type for layer in param.layer}
            if types & set(FILES) and types <= set(TYPES) and whole(definition, phase):
                found.append((file, phase))
    return found


def opened(file: str, phase: int) -> NetParameter:
    """The phase's layers alone."""
    param = graph.filter_net(read_definition(shared(f"{FOLDER}/{file}")), NetState(phase=phase))
    for layer in param.layer:
        del layer.include[:], layer.exclude[:]
    return param


@pytest.mark.parametrize(("file", "phase"), cases())
def test_it_builds_on_stand_ins(file: str, phase: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lmdb", reason="lmdb, which writing an LMDB needs, is not installed")
    monkeypatch.chdir(tmp_path)
    param = opened(file, phase)
    readers = [layer for layer in param.layer if layer.type in FILES]
    for number, layer in enumerate(readers):
        replace_files(layer, file, str(number))
    with stand_ins.imported():
        net = caffepy.Net(param, phase)
    for layer in readers:
        net.forward(start=layer.name, end=layer.name)
        for top in layer.top:
            assert np.isfinite(net.blobs[top].data).all()


@pytest.mark.parametrize(("file", "phase"), cases())
def test_a_missing_source_is_named(file: str, phase: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    param = opened(file, phase)
    first = next(layer for layer in param.layer if layer.type in FILES)
    named = getattr(first, FILES[first.type]).source, first.transform_param.mean_file, "plyvel"
    with stand_ins.imported(), pytest.raises(CaffeError) as error:
        caffepy.Net(param, phase)
    assert any(name and name in str(error.value) for name in named)
    assert first.name in str(error.value)


def replace_files(layer: LayerParameter, file: str, name: str) -> None:
    """Write small files for the layer, and point it to them; one item to a batch, if the net takes that."""
    batch = next((size for part, size in BATCH.items() if part in file), 1)
    settings, transform = getattr(layer, FILES[layer.type]), layer.transform_param
    settings.source, settings.batch_size = name, batch
    side = transform.crop_size
    shapes = [stated_shapes(file).get(top) for top in layer.top]
    channels, height, width = (1, 1, 1)
    if layer.type != "HDF5Data":
        channels, height, width = (shapes[0] or (1, 3, side or 224, side or 224))[-3:]
    height, width = max(height, side), max(width, side)
    if layer.type == "ImageData" and settings.new_height:
        height, width = settings.new_height, settings.new_width
    if transform.mean_file:
        mean = array_to_blobproto(np.zeros((1, channels, height, width)))
        Path("mean").write_bytes(mean.SerializeToString())
        transform.mean_file = "mean"
    if layer.type == "Data":
        settings.backend = DataParameter.LMDB
        transform.force_color = transform.force_gray = False  # the records hold values, not picture files
        values = np.random.RandomState(0).randint(0, 256, (channels, height, width)).astype(np.uint8)
        with DatabaseWriter(name, "LMDB") as database:
            database.put(b"0", array_to_datum(values, 0).SerializeToString())
    elif layer.type == "HDF5Data":
        with h5py.File(f"{name}.h5", "w") as written:
            for top, shape in zip(layer.top, shapes, strict=True):
                written[top] = np.zeros((2, *(shape or (2, 1))[1:]), np.float32)
        Path(name).write_text(f"{name}.h5")
    else:
        Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(f"{name}.png")
        settings.root_folder = ""
        lines = f"{name}.png 0\n"
        if layer.type == "WindowData":
            box = f"0 0 {width - 1} {height - 1}"
            lines = f"# 0 {name}.png 3 {height} {width} 2 1 1.0 {box} 0 0.0 {box}"
            settings.batch_size, settings.fg_fraction = 2, 0.5
        Path(name).write_text(lines)
