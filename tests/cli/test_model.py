"""Nets for the commands."""

from pathlib import Path

import numpy as np
import pytest

from caffepy.cli.model import fill_at_random, load_net
from caffepy.errors import ArgumentError
from tests.cli import models
from tests.nets import make


def test_the_batch_is_one_whatever_the_prototxt_gives(tmp_path: Path) -> None:
    paths = models.write(tmp_path)
    net = load_net(paths["model"], paths["weights"])
    assert net.blobs["data"].shape == (1, 3, 12, 10)
    assert net.blobs["prob"].shape == (1, 7)


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        ('top: "x" input_param { shape { dim: 1 dim: 7 } }', r"x \(1, 7\)"),
        ('top: "x" top: "info" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } }', "x .*, info "),
    ],
)
def test_inputs_that_are_not_one_picture(tmp_path: Path, inputs: str, found: str) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(f'layer {{ name: "in" type: "Input" {inputs} }}')
    with pytest.raises(ArgumentError, match=f"the net's inputs are {found}"):
        load_net(str(path), None)


def test_random_weights_are_those_of_he_et_al_and_repeat(tmp_path: Path) -> None:
    model = models.write(tmp_path)["model"]
    nets = [load_net(model, None, random_weights=True) for _ in range(2)]
    for name, fan_in in (("conv", 27), ("fc", 480)):
        weights, bias = nets[0].params[name]
        assert weights.data.std() == pytest.approx((2 / fan_in) ** 0.5, rel=0.2)
        assert not bias.data.any()
        np.testing.assert_array_equal(weights.data, nets[1].params[name][0].data)


def test_weights_that_the_prototxt_fills_stay() -> None:
    net = make("""
        layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } }
        layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc"
                inner_product_param { num_output: 2 weight_filler { type: "constant" value: 0.25 } } }
    """)
    fill_at_random(net)
    assert (net.params["fc"][0].data == 0.25).all()
