"""The layer table: counts against what the operations count, receptive fields against gradients."""

import json

import numpy as np
import pytest

from tests.nets import CHAIN, FORK, make

IMAGE = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 4 dim: 24 dim: 21 } } }'


def layer(name: str, kind: str, bottoms: str, settings: str = "", top: str | None = None) -> str:
    below = " ".join(f'bottom: "{bottom}"' for bottom in bottoms.split())
    return f'layer {{ name: "{name}" type: "{kind}" {below} top: "{top or name}" {settings} }}'


def window(kind: str, settings: str) -> str:
    filler = 'num_output: 4 weight_filler { type: "constant" value: 0.05 }' if kind == "convolution" else ""
    return f"{kind}_param {{ {filler} {settings} }}"


PRODUCTS = {
    "chain": CHAIN,
    "groups": IMAGE
    + layer("a", "Convolution", "data", window("convolution", "kernel_h: 3 kernel_w: 2 group: 2 pad: 1")),
    "depthwise": IMAGE + layer("a", "ConvolutionDepthwise", "data", window("convolution", "kernel_size: 3 stride: 2")),
    "deconvolution": IMAGE + layer("a", "Deconvolution", "data", window("convolution", "kernel_size: 4 stride: 2")),
    "axis 2": IMAGE + layer("a", "InnerProduct", "data", "inner_product_param { num_output: 5 axis: 2 }"),
    "LSTM": """layer { name: "in" type: "Input" top: "x" top: "cont" top: "static" input_param {
               shape { dim: 3 dim: 2 dim: 5 } shape { dim: 3 dim: 2 } shape { dim: 2 dim: 7 } } }"""
    + layer("a", "LSTM", "x cont static", "recurrent_param { num_output: 4 }"),
    "RNN": """layer { name: "in" type: "Input" top: "x" top: "cont" input_param {
              shape { dim: 3 dim: 2 dim: 5 } shape { dim: 3 dim: 2 } } }"""
    + layer("a", "RNN", "x cont", "recurrent_param { num_output: 4 }"),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_are_those_that_the_operations_count(name: str) -> None:
    net = make(PRODUCTS[name])
    counted = {cost.name: cost.forward.flops for cost in net.profile(dry=True).layers}
    assert {row.name: 2 * row.macs for row in net.table().rows} == counted


def test_rows_of_a_net_by_hand() -> None:
    found = make(CHAIN).table()
    conv, relu, pool, fc = found.rows[1:]
    assert (found.name, found.phase, found.inputs, found.outputs) == ("chain", "TEST", ["data"], ["fc"])
    assert (conv.type, conv.bottoms, conv.tops) == ("Convolution", ["data"], {"conv1": (2, 4, 6, 6)})
    assert conv.parameters == 4 * 3 * 9 + 4
    assert (conv.bytes, relu.bytes, pool.bytes) == (4 * 2 * 4 * 36, 0, 4 * 2 * 4 * 9)
    assert fc.parameters == 5 * 4 * 9 + 5
    assert found.totals["parameters"] == conv.parameters + fc.parameters
    assert found.totals["bytes"] == 4 * (2 * 3 * 64 + 2 * 4 * 36 + 2 * 4 * 9 + 2 * 5)
    assert json.loads(json.dumps(found.as_dict()))["rows"][1]["tops"] == {"conv1": [2, 4, 6, 6]}


def test_splits_are_left_out_and_shared_weights_count_once() -> None:
    shared = FORK.replace('top: "a" inner', 'top: "a" param { name: "w" } inner').replace(
        'top: "b" inner', 'top: "b" param { name: "w" } inner'
    )
    shared = shared.replace("dim: 2 dim: 3", "dim: 2 dim: 4")
    rows = {row.name: row for row in make(shared).table().rows}
    assert list(rows) == ["x", "a", "b", "sum", "side"]
    assert (rows["a"].parameters, rows["b"].parameters) == (4 * 4 + 4, 4)
    assert rows["sum"].bottoms == ["a", "b"]


CONV = layer("a", "Convolution", "data", window("convolution", "kernel_size: 3 stride: 2 pad: 1"))
FIELDS = {
    "convolutions": CONV + layer("b", "Convolution", "a", window("convolution", "kernel_h: 2 kernel_w: 3 dilation: 2")),
    "pooling": CONV + layer("b", "Pooling", "a", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }"),
    "LRN": CONV + layer("b", "LRN", "a", "lrn_param { norm_region: WITHIN_CHANNEL local_size: 3 alpha: 0.01 }"),
    "branches": CONV
    + layer("b", "Convolution", "a", window("convolution", "kernel_size: 3 pad: 1"))
    + layer("c", "Convolution", "a", window("convolution", "kernel_h: 1 kernel_w: 5 pad_h: 0 pad_w: 2"))
    + layer("d", "Concat", "b c")
    + layer("e", "TanH", "d"),
    "crop": CONV
    + layer("small", "DummyData", "", "dummy_data_param { shape { dim: 2 dim: 4 dim: 5 dim: 6 } }").replace(
        'bottom: "" ', ""
    )
    + layer("b", "Crop", "a small", "crop_param { offset: 3 offset: 2 }"),
    "everything": CONV
    + layer(
        "b", "InnerProduct", "a", 'inner_product_param { num_output: 3 weight_filler { type: "constant" value: 0.1 } }'
    ),
}


@pytest.mark.parametrize("name", FIELDS)
def test_receptive_fields_are_where_gradients_are(name: str) -> None:
    net = make(IMAGE + FIELDS[name], seed=2)
    net.blobs["data"].data[...] = np.random.default_rng(0).random((2, 4, 24, 21))
    net.forward()
    row = net.table().rows[-1]
    top = net.blobs[row.name]
    for place in np.ndindex(*(top.shape[2:] or (1, 1))):
        diff = np.zeros(top.shape, np.float32)
        diff[(0, 0, *place)[: diff.ndim]] = 1
        if name == "branches":
            diff[0, :, place[0], place[1]] = 1
        seen = np.abs(net.gradient({row.name: diff})["data"][0]).sum(axis=0) > 0
        for axis, extent in enumerate(seen.shape):
            where = np.flatnonzero(seen.any(axis=1 - axis))
            field = row.field[axis]
            centre = field.offset + place[axis] * field.stride
            ends = centre - (field.size - 1) / 2, centre + (field.size - 1) / 2
            assert (where[0], where[-1]) == (max(0, ends[0]), min(extent - 1, ends[1]))


def test_the_field_of_a_deconvolution_is_the_most_that_any_position_sees() -> None:
    spread = layer("b", "Deconvolution", "a", window("convolution", "kernel_size: 4 stride: 2 pad: 1"))
    net = make(IMAGE + CONV + spread)
    net.forward()
    rows, _ = net.table().rows[-1].field
    assert (rows.size, rows.stride) == (5, 1)
    widths = set()
    for y in range(6, 18):
        diff = np.zeros(net.blobs["b"].shape, np.float32)
        diff[0, 0, y, 10] = 1
        where = np.flatnonzero(np.abs(net.gradient({"b": diff})["data"][0]).sum(axis=(0, 2)))
        widths.add(where[-1] - where[0] + 1)
        assert abs((where[-1] + where[0]) / 2 - (rows.offset + y * rows.stride)) <= 0.5
    assert max(widths) == rows.size


def test_as_text_every_column_is_aligned_and_names_its_unit() -> None:
    lines = repr(make(CHAIN)).splitlines()
    assert lines[0] == "net 'chain', TEST: 5 layers; inputs data; outputs fc"
    assert lines[1].split("  ")[-1] == "stride (px)"
    assert {len(line) for line in lines[1:4]} == {len(lines[1])}
    assert lines[3].split() == ["conv1", "Convolution", "2x4x6x6", "112", "0.008", "0.001", "3", "1"]
    assert lines[4].split() == ["relu1", "ReLU", "conv1", "2x4x6x6", "3", "1"]
    assert lines[-4].split() == ["fc", "InnerProduct", "2x5", "185", "0.000", "0.000", "all"]
    assert lines[-3].split()[:5] == ["total", "parameters", "0.00", "MB", "297"]
    # data, conv1 and fc, and pool1, are 384, 288 and 10, and 72 elements; conv1 and pool1 are needed at once
    assert lines[-2].startswith('blobs 0.003 MB, with memory="inference" 0.003 MB (1.00)')
    assert lines[-1].startswith("forward takes 0.")


def test_html_escapes_names() -> None:
    page = make(CHAIN.replace('name: "fc"', 'name: "<fc>"'))._repr_html_()
    assert "&lt;fc&gt;" in page
    assert "<fc>" not in page
    assert page.count("<tr>") == 1 + 5 + 1


def test_nets_without_layers() -> None:
    net = make(CHAIN)
    net.close()
    assert repr(net) == "net 'chain': closed"
    assert repr(make('name: "empty"')) == "net 'empty': no layers"
    assert net._repr_html_() == "<div>net &#x27;chain&#x27;: closed</div>"
