"""Both engines train the same net: losses after some steps agree."""

import pytest

from benchmarks.train_worker import Caffepy, Torch, definition


def test_the_nets_that_are_trained() -> None:
    lenet, caffenet = definition("lenet", 2), definition("caffenet", 2)
    for net in (lenet, caffenet):
        assert [layer.type for layer in net.layer][-2:] == ["Input", "SoftmaxWithLoss"]
    assert [layer.type for layer in caffenet.layer].count("Dropout") == 2


def test_a_step_trains() -> None:
    engine = Caffepy("lenet", 4, 1)
    engine.step()
    first = engine.loss()
    for _ in range(30):
        engine.step()
    assert engine.loss() < first


def test_pytorch_reaches_the_same_loss() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    engines = [Caffepy("lenet", 4, 1), Torch("lenet", 4, 1)]
    for engine in engines:
        for _ in range(5):
            engine.step()
    assert engines[0].loss() == pytest.approx(engines[1].loss(), rel=1e-4)
