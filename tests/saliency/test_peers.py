"""caffepy's maps beside those of Captum, zennit and pytorch-grad-cam, on the same weights."""

import importlib.util
import runpy
from pathlib import Path

import numpy as np
import pytest

from tests.saliency import peers

CASES = [(name, what) for name in peers.NETS for what in peers.compared(name)]


@pytest.mark.parametrize(("name", "what"), CASES)
def test_golden_maps(name: str, what: str) -> None:
    golden = np.load(peers.GOLDEN / f"{name}.npz")[what]
    found = peers.kept(name, peers.ours(name, what, *peers.NETS[name]()))
    assert found.shape == golden.shape
    np.testing.assert_allclose(found, golden, rtol=1e-4, atol=1e-4 * abs(golden).max())


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")  # the peers' own
@pytest.mark.parametrize("name", list(peers.NETS))
def test_the_golden_maps_are_what_the_peers_say(name: str) -> None:
    for package in ("torch", "captum", "zennit", "pytorch_grad_cam"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    made = runpy.run_path(str(Path(peers.GOLDEN) / "make.py"))["make"](name)
    golden = np.load(peers.GOLDEN / f"{name}.npz")
    assert set(made) == set(golden.files)
    for what, values in made.items():
        np.testing.assert_allclose(values, golden[what], rtol=1e-4, atol=1e-5 * abs(golden[what]).max(), err_msg=what)
