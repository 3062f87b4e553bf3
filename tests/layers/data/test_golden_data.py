"""Every data layer against real Caffe: 107 cases byte for byte, and what it refuses."""

import logging

import numpy as np
import pytest

import caffepy as caffe
from caffepy.errors import CaffeError
from tests.golden_data import FOLDER, TYPES, cases, edges, needs_leveldb
from tests.nets import make

TRUNCATED = 10
"""Of the extras: a JPEG cut short: what is missing differs between OpenCV's own two decoders."""

REFUSED = {"datum_data_shorter_than_its_shape", "second_file_of_another_shape"}
"""Where Caffe reads past a buffer and goes on."""
TAKEN = {"same_leveldb_twice_in_one_net"}
"""Where Caffe stops at LevelDB's lock."""

NAMES = {  # what the message of an edge case names
    "lmdb_enc_png_native_batch": "LMDB 'db/lmdb_enc_png', key '00000004_a4_grey.png' gives shape (1, 28, 36)",
    "missing_lmdb": "LMDB 'db/nosuch' cannot be opened",
    "missing_leveldb": "LEVELDB 'db/nosuch' cannot be opened",
    "backend_leveldb_on_an_lmdb": "'db/lmdb_raw' holds no CURRENT: it is of the kind LMDB, so give backend: LMDB",
    "backend_not_given_on_an_lmdb": "so give backend: LMDB",
    "backend_lmdb_on_a_leveldb": "so give backend: LEVELDB",
    "empty_lmdb": "LMDB 'db/lmdb_empty' is empty",
    "empty_leveldb": "LEVELDB 'db/leveldb_empty' is empty",
    "datums_of_different_shape_no_crop": "key '00000008_a8_v.png' gives shape (3, 27, 45)",
    "datums_of_different_shape_across_batches": "key '00000009_a9_v.jpg' gives shape (3, 50, 33)",
    "crop_larger_than_some_datums": "28 x 36 pixels are smaller than the crop, 30 x 30",
    "crop_larger_than_all": "28 x 36 pixels are smaller than the crop, 64 x 64",
    "encoded_native_grey_and_colour_in_one_batch": "gives shape (1, 28, 36), the first item of its batch (3, 28, 36)",
    "force_color_and_force_gray": "force_color or force_gray, not both",
    "mean_file_and_mean_value": "mean_file or mean_value, not both",
    "mean_file_missing": "'nosuch.binaryproto' cannot be opened",
    "mean_file_of_another_size": "'mean_resized.binaryproto' has shape (3, 40, 48), an item (3, 28, 36)",
    "mean_file_of_another_channel_count": "'mean_gray.binaryproto' has shape (1, 28, 36)",
    "two_mean_values_for_three_channels": "2 mean_value for 3 channels",
    "corrupt_datum_first": "key '0000' is no Datum: its 13 bytes",
    "corrupt_datum_in_the_middle": "key '0001' is no Datum",
    "datum_data_shorter_than_its_shape": "key '0001': 50 values for 3 channels of 8 x 8, which are 192",
    "encoded_garbage_first": "key '0000' cannot be decoded",
    "encoded_garbage_second": "key '0001' cannot be decoded",
    "encoded_garbage_second_batch1": "key '0001' cannot be decoded",
    "encoded_extras_native_batch1": "key '00000004_extra/grey16.png' has 16 bits a channel",
    "batch_size_zero": "batch_size must be at least 1",
    "batch_size_missing": "batch_size must be at least 1",
    "three_tops": "takes 1 to 2 top blob(s), the prototxt gives 3",
    "no_source": "LMDB '' cannot be opened",
    "list_missing": "'lists/nosuch.txt' cannot be opened",
    "list_empty": "'lists/empty.txt'",
    "first_image_missing": "list 'lists/missing_first.txt', line 1 (nosuch.png)",
    "later_image_missing": "list 'lists/missing_later.txt', line 4 (nosuch.png)",
    "blank_line_at_end": "list 'lists/blank_line.txt', line 3",
    "two_spaces_before_label": "line 2 (a2_rgb.png )",
    "tab_before_label": "list 'lists/tab.txt', line 1",
    "not_an_image_later": "picture 'images/extra/not_an_image.png' cannot be decoded",
    "only_new_height": "give new_height and new_width both, got 20 and 0",
    "different_sizes_no_resize": "line 9 (a8_v.png) gives shape (3, 27, 45)",
    "one_top": "takes 2 top blob(s)",
    "root_folder_without_slash": "'imagesa0_rgb.png' cannot be opened",
    "rand_skip_larger_than_list": "of the 8 lines of 'lists/same.txt'",
    "second_file_missing": "'h5/nosuch.h5' cannot be opened",
    "not_an_hdf5_file": "images/a0_rgb.png: not a whole HDF5 file",
    "dataset_missing": "h5/a0.h5: the file has no data set 'nosuch'",
    "rows_differ_between_datasets": "data set 'other_rows' has 6 rows, 'data' has 5",
    "text_dataset": "data set 'text' holds |S2",
    "second_file_of_another_shape": "'h5/a_other_shape.h5' has rows of [(2, 3, 5), (1,)]",
    "transform_param": "HDF5Data does not transform data",
    "nothing_set": "has no data yet",
    "not_a_multiple_of_the_batch": "first dimensions of input arrays must be a multiple of batch size",
    "wrong_channels": "data of shape (6, 2, 4, 5); give (n, 3, 4, 5)",
    "no_height": "batch_size, channels, height and width of at least 1, got 2, 1, 0, 3",
    "shape_and_old_fields": "give shape, or num, channels, height and width; not both",
    "two_fillers_for_three_tops": "2 data_filler for 3 tops",
    "two_shapes_for_three_tops": "2 shapes for 3 tops",
    "second_forward": "edge.h5' holds a batch already",
    "cannot_create": "file_name 'nosuchdir/x.h5' cannot be created",
    "no_background_window": "window file 'lists/win_nobg.txt' has no background window",
    "no_foreground_window": "window file 'lists/win_nofg.txt' has no foreground window",
    "foreground_label_0": "'lists/win_fg0.txt', picture 0: a foreground window has label 0",
    "window_outside_the_image": "picture 0 (images/a8_v.png): window (5, 5, 48, 20) is outside its (45, 27) pixels",
    "file_missing": "'lists/nosuch.txt' cannot be opened",
    "file_empty": "window file 'lists/empty.txt' is empty",
    "no_crop_size": "give transform_param crop_size",
    "zero_dim": "every extent must be at least 1",
}


@pytest.mark.parametrize(("layer_type", "case"), [(t, case) for t in TYPES for case in cases(t)])
def test_caffes_batches(layer_type, case, monkeypatch):
    expected = cases(layer_type)[case]
    needs_leveldb(str(expected["prototxt"]))
    monkeypatch.chdir(FOLDER)
    net = make(str(expected["prototxt"]), getattr(caffe, str(expected["phase"])))
    assert net.outputs == expected["outputs"].tolist()
    for key, shape in expected.items():
        if key.startswith("setup_shape/"):
            assert net.blobs[key.partition("/")[2]].shape == tuple(shape.astype(int))
    if "set/data" in expected:
        net.set_input_arrays(expected["set/data"], expected["set/labels"])
    batches = {int(key[5:].partition("/")[0]) for key in expected if key.startswith("batch")}
    for i in range(max(batches, default=-1) + 1):
        net.forward()
        if "extras" in case and i == TRUNCATED:
            continue
        for top in net.outputs:
            if (values := expected.get(f"batch{i}/{top}")) is not None:
                compare(net.blobs[top].data, values)


def compare(found, expected):
    assert found.shape == expected.shape
    if expected.dtype == np.uint8:
        np.testing.assert_array_equal(found, expected.astype(np.float32))
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=0)


def test_every_case_is_here():
    assert sum(len(cases(layer_type)) for layer_type in TYPES) == 107
    assert len(edges()) == 101


@pytest.mark.parametrize(
    "edge", [pytest.param(e, id=f"{e['kind']}-{e['name']}") for e in edges() if e["kind"] in caffe.layer_type_list()]
)
def test_what_caffe_refuses(edge, monkeypatch, tmp_path, caplog):
    needs_leveldb(edge["prototxt"])
    monkeypatch.chdir(FOLDER)
    text = edge["prototxt"].replace("h5/edge_tmp.h5", str(tmp_path / "edge.h5"))

    def run():
        net = make(text, getattr(caffe, edge["phase"]))
        if edge["name"] in ("not_a_multiple_of_the_batch", "wrong_channels"):
            net.set_input_arrays(np.zeros((6, 2, 4, 5)), np.zeros(6))
        for i in range(edge["forwards"]):
            net.forward()
            for key, shape in edge.get("shapes", {}).items():
                if key.startswith(f"batch{i}/"):
                    assert list(net.blobs[key.partition("/")[2]].shape) == shape

    with caplog.at_level(logging.WARNING, "caffepy"):
        if edge["name"] not in REFUSED and (edge["result"] == "ok" or edge["name"] in TAKEN):
            run()
            assert ("only for encoded" in caplog.text) == bool(edge["warnings_and_errors"])
        else:
            with pytest.raises(CaffeError) as error:
                run()
            assert str(error.value).startswith("layer ")
            assert NAMES[edge["name"]] in str(error.value)
