"""What nets take and have to do, counted before it is taken or done: a few bytes of prototxt cost no more than that."""

import numpy as np
import pytest

import caffepy as caffe
from caffepy.errors import ArgumentError, CaffeError, LayerError
from caffepy.limits import Limits
from tests.nets import make

LITTLE = Limits(memory=500_000_000, work=10**10)

IMAGE = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n'
TWO = IMAGE + 'layer { name: "e" type: "Input" top: "e" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n'


def inputs(*shapes: tuple[int, ...]) -> str:
    dims = (" ".join(f"dim: {extent}" for extent in shape) for shape in shapes)
    return "".join(
        f'layer {{ name: "{n}" type: "Input" top: "{n}" input_param {{ shape {{ {dim} }} }} }}\n'
        for n, dim in zip("defg", dims, strict=False)
    )


def on(bottoms: str, kind: str, param: str) -> str:
    lines = " ".join(f'bottom: "{name}"' for name in bottoms)
    return f'layer {{ name: "L" type: "{kind}" {lines} top: "t" {param} }}'


BLOWN_UP = {
    "many products": IMAGE.replace("dim: 8", "dim: 512")
    + on("d", "Convolution", "convolution_param { num_output: 64 kernel_size: 101 pad: 50 }"),
    "a transposed one": IMAGE + on("d", "Deconvolution", "convolution_param { num_output: 99 kernel_size: 3000 }"),
    "taps of a pooling": IMAGE
    + on("d", "Pooling", "pooling_param { pool: AVE kernel_size: 100000 pad: 99999 stride: 50000 }"),
    "taps along an axis": inputs((1, 1, 4, 4, 4))
    + on("d", "Pooling", "pooling_param { kernel_size: 100000 pad: 99999 stride: 50000 }"),
    "stochastic taps": inputs((1, 1, 4000, 4000))
    + on("d", "Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 3999 }"),
    "a padded table": IMAGE + on("d", "Im2col", "convolution_param { kernel_size: 1 pad: 1000000000 }"),
    "taps of a table": IMAGE + on("d", "Im2col", "convolution_param { kernel_size: 2000 pad: 1999 stride: 4000 }"),
    "a table of places": IMAGE + on("d", "Upsample", "upsample_param { scale: 1000000000 }"),
    "another": IMAGE + on("d", "UpsampleDarknet", "upsample_darknet_param { stride: 1000000000 }"),
    "a matrix of weights": inputs((1, 0, 10000, 10000))
    + on("d", "Resample", "resample_param { height: 90000 width: 9 }"),
    "steps": inputs((1000000, 1, 1), (1000000, 1)) + on("de", "LSTM", "recurrent_param { num_output: 1 }"),
    "more steps": inputs((1000000, 1, 1), (1000000, 1)) + on("de", "RNN", "recurrent_param { num_output: 1 }"),
    "shifts": TWO + on("de", "Correlation", "correlation_param { pad: 3000 kernel_size: 1 max_displacement: 3000 }"),
    "classes of no boxes": inputs((1, 0), (1, 0), (1, 2, 0))
    + on("def", "DetectionOutput", "detection_output_param { num_classes: 2147483647 }"),
    "classes of nothing": inputs((1, 1, 1, 7), (1, 1, 1, 8))
    + on("de", "DetectionEvaluate", "detection_evaluate_param { num_classes: 2147483648 }"),
    "a sum of many": IMAGE + on("d", "LRN", "lrn_param { local_size: 99999999 }"),
    "boxes at each place": inputs((1, 1, 9999, 9999), (1, 1, 1, 1))
    + on("de", "PriorBox", "prior_box_param { min_size: 1 aspect_ratio: 2 }"),
}


@pytest.mark.parametrize("what", BLOWN_UP)
def test_what_a_few_bytes_blow_up_is_refused_at_once(what: str) -> None:
    with pytest.raises(LayerError, match=r"layer 'L' \(\w+\): .*(needs .* of memory|to do, and at most 1.0e10)"):
        make(BLOWN_UP[what], limits=LITTLE)


def test_work_is_counted_as_the_definition_has_it() -> None:
    text = IMAGE + on("d", "Convolution", "convolution_param { num_output: 5 kernel_size: 3 bias_term: false }")
    net = make(
        text + 'layer { name: "i" type: "InnerProduct" bottom: "t" top: "u" inner_product_param { num_output: 7 } }'
    )
    products = 5 * 3 * 9 * 36 + 7 * 5 * 36
    values = 3 * 64 + 5 * 36 + 7
    assert products + values <= net.execution.budget.work <= products + values + 9 * 200
    net.blobs["d"].reshape(4, 3, 8, 8)
    net.reshape()
    assert 4 * (products + values) <= net.execution.budget.work <= 4 * (products + values) + 9 * 200
    assert net.table().work == net.execution.budget.work


def test_work_can_be_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    text = IMAGE + on("d", "Convolution", "convolution_param { num_output: 5 kernel_size: 3 }")
    work = make(text).execution.budget.work
    make(text, limits=Limits(work=work))
    with pytest.raises(LayerError, match=r"layer 'L' .*with the other layers a forward pass has .* multiplications"):
        make(text, limits=Limits(work=work - 1))
    monkeypatch.setenv("CAFFEPY_WORK_LIMIT", "1e3")
    with pytest.raises(LayerError, match=r"its forward pass has .* to do, and at most 1,000 are"):
        make(text)
    monkeypatch.setenv("CAFFEPY_WORK_LIMIT", "much")
    with pytest.raises(ArgumentError, match="CAFFEPY_WORK_LIMIT is 'much'"):
        make(text)


def test_numbers_beyond_every_float_are_told() -> None:
    dims = (2**62,) * 31
    with pytest.raises(LayerError, match=r"needs .*e57\d bytes of memory"):
        make(inputs(dims))


def test_shapes_of_nothing_that_no_array_has_are_refused() -> None:
    with pytest.raises(LayerError, match="of memory"):
        make(inputs((2**62, 2**62, 0)))


def test_diffs_are_counted_before_backward_takes_them() -> None:
    text = IMAGE + on("d", "InnerProduct", "inner_product_param { num_output: 1000 }")
    net = make(text)
    total, diffs = net.execution.budget.total, net.execution.budget.diffs
    assert diffs == 4 * (192 + 1000 * 192 + 1000 + 1000)
    for memory, fits in ((total + diffs, True), (total + diffs - 1, False)):
        net = make("force_backward: true\n" + text, limits=Limits(memory=memory))
        net.forward()
        if fits:
            net.backward(t=np.ones((1, 1000)))
            continue
        with pytest.raises(LayerError, match=r"layer 'L' .*has diffs of .*a backward pass needs"):
            net.backward(t=np.ones((1, 1000)))
        net.forward()


CHAIN_OF_NINE = IMAGE.replace("dim: 8", "dim: 64").replace('top: "d"', 'top: "t"') + "".join(
    f'layer {{ name: "r{i}" type: "TanH" bottom: "t{i or ""}" top: "t{i + 1}" }}\n' for i in range(9)
)


def test_a_gradient_is_counted_with_its_turns() -> None:
    text, one = CHAIN_OF_NINE, 4 * 3 * 64 * 64
    needed = make(text).execution.budget.total
    net = make(text, limits=Limits(memory=needed + 3 * one))
    net.forward()
    net.gradient({"t9": np.ones(net.blobs["t9"].shape)})
    net = make(text, limits=Limits(memory=needed + one))
    net.forward()
    with pytest.raises(LayerError, match="a backward pass needs"):
        net.gradient({"t9": np.ones(net.blobs["t9"].shape)})


def test_a_net_whose_blobs_take_turns_needs_less() -> None:
    text, one = CHAIN_OF_NINE, 4 * 3 * 64 * 64
    with pytest.raises(LayerError, match="the net needs"):
        make(text, limits=Limits(memory=6 * one))
    net = make(text, limits=Limits(memory=6 * one), memory="inference")
    net.forward()
    assert net.execution.budget.total <= 6 * one
    with pytest.raises(LayerError, match="the net needs"):
        make(text, limits=Limits(memory=2 * one), memory="inference")
    net.blobs["t"].reshape(4, 3, 64, 64)
    with pytest.raises(LayerError, match="of memory"):
        net.forward()


def test_a_net_whose_blobs_take_turns_counts_them_as_soon_as_it_has_other_shapes() -> None:
    net, other = (make(CHAIN_OF_NINE, memory="inference") for _ in range(2))
    small = net.execution.budget.total
    assert small == net.table().memory.forward_inference == make(CHAIN_OF_NINE).table().memory.forward_inference
    for each in (net, other):
        each.blobs["t"].reshape(2, 3, 64, 64)
    net.reshape()
    other.forward()
    assert small < net.execution.budget.total == other.execution.budget.total == net.table().memory.forward


def test_pictures_larger_than_memory_are_not_decoded(tmp_path) -> None:
    from PIL import Image

    Image.new("1", (3000, 3000)).save(tmp_path / "a.png")
    with caffe.limits.applied(Limits(memory=10**7)), pytest.raises(CaffeError, match=r"3000 x 3000 pixels .*of memory"):
        caffe.io.load_image(tmp_path / "a.png")
