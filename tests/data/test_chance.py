"""Chance draws what it drew in real Caffe: tests/golden/data/random_notes.json, and slow code from the recipe."""

import json

import numpy as np
import pytest

import caffepy as caffe
from caffepy.data import c_rand
from tests.golden_data import FOLDER, cases
from tests.nets import make

NOTES = json.loads((FOLDER / "random_notes.json").read_text())
CROPS = [name for name in NOTES if name.startswith("Data/")]
DATA = """
layer {{ name: "d" type: "Data" top: "data" top: "label"
        transform_param {{ mirror: {mirror} crop_size: {crop} }}
        data_param {{ source: "db/lmdb_raw" batch_size: 8 backend: LMDB }} }}
"""
LISTED = """
layer {{ name: "d" type: "ImageData" top: "data" top: "label"
        image_data_param {{ source: "lists/same.txt" root_folder: "images/" batch_size: 8 {more} }} }}
"""


@pytest.fixture(autouse=True)
def _there(monkeypatch):
    monkeypatch.chdir(FOLDER)


def raw(seed):
    """32-bit outputs of MT19937, by NumPy's own generator."""
    bits = np.random.RandomState(seed)._bit_generator
    return lambda: int(bits.random_raw())


@pytest.mark.parametrize("name", CROPS)
def test_crops_and_mirrors(name):
    _, phase, mirror, crop, seed = name.split("/")
    mirror, crop, seed = mirror == "mirror=True", int(crop[5:]), int(seed[5:])
    images = cases("Data")["lmdb_raw_batch_larger_than_db"]["batch0/data"][:8].astype(np.float32)
    net = make(DATA.format(mirror=str(mirror).lower(), crop=crop), getattr(caffe, phase), seed=seed)
    process = raw(seed)
    process()
    own = raw(process())
    mirrored = 0
    for _ in range(3):
        found = net.forward()["data"]
        for image, ours in zip(images, found, strict=True):
            flip = own() % 2 if mirror else 0
            side = crop or None
            top, left = (28 - crop) // 2, (36 - crop) // 2
            if crop and phase == "TRAIN":
                top, left = own() % (28 - crop + 1), own() % (36 - crop + 1)
            expected = image[:, top : top + side, left : left + side] if crop else image
            np.testing.assert_array_equal(ours, expected[:, :, ::-1] if flip else expected)
            mirrored += flip
    assert mirrored == NOTES[name]["mirrored"]


def order(net, batches=1):
    """Which pictures of same.txt make up the next batches."""
    images = cases("Data")["lmdb_raw_batch_larger_than_db"]["batch0/data"][:8].astype(np.float32)
    found = []
    for _ in range(batches):
        for item in net.forward()["data"]:
            found.append(next(i for i, image in enumerate(images) if np.array_equal(image, item)))
    return found


@pytest.mark.parametrize("seed", [1, 99])
def test_shuffles_of_lists(seed):
    net = make(LISTED.format(more="shuffle: true"), caffe.TRAIN, seed=seed)
    assert [order(net) for _ in range(3)] == NOTES[f"ImageData/shuffle/seed={seed}"]["orders"]


@pytest.mark.parametrize("seed", [1, 99])
def test_skips_of_lists(seed):
    net = make(LISTED.format(more="rand_skip: 6"), seed=seed)
    first = NOTES[f"ImageData/rand_skip=6/seed={seed}"]["first_item"]
    assert order(net, 2) == [(first + i) % 8 for i in range(16)]


def test_shuffles_of_hdf5_are_those_of_a_fresh_program(monkeypatch):
    monkeypatch.setattr("caffepy.data.hdf5.process_rand", c_rand.CRand())
    net = make(
        'layer { name: "d" type: "HDF5Data" top: "data" '
        'hdf5_data_param { source: "lists/h5_two.txt" batch_size: 9 shuffle: true } }',
        seed=77,
    )
    plain = cases("HDF5Data")["two_files"]
    rows = [row.tobytes() for i in range(3) for row in plain[f"batch{i}/data"].astype(np.float32)]
    names = [f"0:{i}" for i in range(5)] + [f"1:{i}" for i in range(4)]
    for epoch in NOTES["HDF5Data/shuffle"]["epochs"]:
        assert [names[rows.index(row.tobytes())] for row in net.forward()["data"]] == epoch


def test_c_rand_is_glibcs():
    rand = c_rand.CRand()
    assert [rand.draw() for _ in range(5)] == [1804289383, 846930886, 1681692777, 1714636915, 1957747793]


def test_windows_are_drawn_background_first_and_repeat_by_seed():
    text = (
        'layer { name: "d" type: "WindowData" top: "data" top: "label" transform_param { crop_size: 24 mirror: true } '
        'window_data_param { source: "lists/win_two.txt" batch_size: 8 fg_fraction: 0.5 } }'
    )
    first, again, other = (make(text, caffe.TRAIN, seed=seed) for seed in (1, 1, 2))
    labels = [net.forward()["label"].tolist() for net in (first, again, other)]
    assert labels[0] == labels[1]
    np.testing.assert_array_equal(first.blobs["data"].data, again.blobs["data"].data)
    assert not np.array_equal(first.blobs["data"].data, other.blobs["data"].data)
    for found in labels:
        assert found[:4] == [0] * 4
        assert set(found[4:]) <= {2, 9}


def test_windows_mirrored_in_test_too():
    case = cases("WindowData")["win2_square_pad4"]
    plain = [item.astype(np.float32) for item in case["batch0/data"]]
    net = make(str(case["prototxt"]).replace("crop_size: 24", "crop_size: 24 mirror: true"), seed=1)
    seen = set()
    for _ in range(4):
        for item, expected in zip(net.forward()["data"], plain, strict=True):
            if np.array_equal(item, expected):
                seen.add("plain")
            else:  # the padding is mirrored as well, resized apart from it
                assert abs(item[:, :, ::-1] - expected).mean() < 3
                seen.add("mirrored")
    assert seen == {"plain", "mirrored"}


def test_a_layer_with_chance_draws_thrice_of_the_process_and_one_without_once():
    for layer, draws in (
        (DATA.format(mirror="true", crop=0), 3),
        (DATA.format(mirror="false", crop=0), 1),
        (LISTED.format(more="shuffle: true rand_skip: 3"), 3),
        (
            'layer { name: "h" type: "HDF5Data" top: "flat" '
            'hdf5_data_param { source: "lists/h5_two.txt" batch_size: 2 } }',
            0,
        ),
    ):
        make(layer, seed=5)
        expected = raw(5)
        for _ in range(draws):
            expected()
        assert caffe.rng.process().draw() == expected()


def test_windows_are_the_ones_that_caffe_drew():
    text = (
        'layer { name: "d" type: "WindowData" top: "data" top: "label" transform_param { crop_size: 24 } '
        'window_data_param { source: "lists/win_two.txt" batch_size: 8 fg_fraction: 0.5 } }'
    )
    net = make(text, seed=3)
    assert [net.forward()["label"].tolist() for _ in range(4)] == NOTES["WindowData/random"]["labels"]
