"""What leaves a pass as an exception: caffepy's own, whatever Python raised, and a user's as they are."""

import pytest

from caffepy.errors import InternalError, StateError
from caffepy.layers.activation.relu import ReLU
from tests.nets import make

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "y" type: "ReLU" bottom: "x" top: "y" }
"""


def raising(text: str, module: str):
    """A function of that module whose body raises."""
    space = {"__name__": module}
    exec(f"def reshape(self, bottoms):\n    raise {text}", space)
    return space["reshape"]


def test_a_fault_of_ours_is_told_as_one_of_our_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReLU, "reshape", raising('ValueError("negative dimensions")', "caffepy.layers.activation.relu"))
    with pytest.raises(InternalError, match="ValueError: negative dimensions: this is a fault of caffepy") as caught:
        make(NET)
    assert isinstance(caught.value.__cause__, ValueError)


def test_so_it_is_in_a_pass_and_the_net_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    net = make(NET)
    with monkeypatch.context() as patch:
        patch.setattr(ReLU, "reshape", raising("ZeroDivisionError()", "caffepy.layers.activation.relu"))
        net.blobs["x"].reshape(4, 3)
        with pytest.raises(InternalError, match="ZeroDivisionError"):
            net.forward()
    assert net.forward()["y"].shape == (4, 3)


def test_memory_that_is_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReLU, "reshape", raising("MemoryError()", "caffepy.layers.activation.relu"))
    with pytest.raises(StateError, match=r"memory is out .* memory_limit"):
        make(NET)


@pytest.mark.parametrize("module", ["__main__", "my_layers"])
def test_what_a_user_raises_passes(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setattr(ReLU, "reshape", raising('LookupError("mine")', module))
    with pytest.raises(LookupError, match="mine"):
        make(NET)


def test_a_callback_of_a_user_passes() -> None:
    net = make(NET)

    def callback(layer: int) -> None:
        raise LookupError("mine")

    net.before_forward(callback)
    with pytest.raises(LookupError, match="mine"):
        net.forward()
