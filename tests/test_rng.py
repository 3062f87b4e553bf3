"""The generator: outputs of MT19937, boost's whole numbers, the shuffles that real Caffe made."""

import numpy as np

from caffepy import rng
from caffepy.rng import Mt19937

ORDERS = {  # what real Caffe's ImageData made of eight pictures in its first three epochs, by seed
    1: [[7, 2, 0, 3, 5, 4, 6, 1], [1, 3, 0, 2, 7, 6, 5, 4], [7, 4, 1, 5, 6, 0, 2, 3]],
    99: [[3, 2, 5, 4, 0, 7, 6, 1], [1, 7, 3, 2, 6, 0, 5, 4], [0, 4, 3, 1, 2, 7, 5, 6]],
}


def test_the_ten_thousandth_output_is_the_standards():
    generator = Mt19937(5489)
    assert generator.draws(9999)[-1] != 4123659995
    assert generator.draw() == 4123659995  # ISO C++ says so of std::mt19937


def test_a_shuffle_is_caffes():
    for seed, orders in ORDERS.items():
        process = Mt19937(seed)
        shuffler, order = Mt19937(process.draw()), list(range(8))
        for expected in orders:
            shuffler.shuffle(order)
            assert order == expected


def test_whole_numbers_reach_both_ends_and_nothing_beyond():
    generator = Mt19937(3)
    for largest in (0, 1, 2, 6, 255):
        assert {generator.up_to(largest) for _ in range(30 * (largest + 1))} == set(range(largest + 1))
    assert generator.up_to(2**31) <= 2**31


def test_numpys_distributions_share_the_stream():
    ours, same = Mt19937(7), Mt19937(7)
    assert ours.draw() == same.draw()
    ours.generator.random(5, np.float32)
    same.draws(5)
    assert ours.draw() == same.draw()


def test_the_process_generator_repeats_by_seed_and_takes_any_seed():
    for seed in (0, 1, 2**32 - 1, -1, 2**40 + 3):
        rng.set_random_seed(seed)
        first = rng.process().draws(3)
        rng.set_random_seed(seed)
        assert (rng.process().draws(3) == first).all()
        assert rng.process().generator is rng.generator()


def test_uniform_numbers_are_caffes():
    """min + output / 2^32 * (max - min), in single precision."""
    ours, same = Mt19937(11), Mt19937(11)
    filled = np.empty((3, 700), np.float32)
    ours.uniform(filled, -0.25, 0.5)
    outputs = same.draws(filled.size).astype(np.float64).reshape(filled.shape)
    np.testing.assert_allclose(filled, -0.25 + outputs / 2**32 * 0.75, atol=1e-7)
    assert ours.draw() == same.draw()


def test_a_uniform_number_that_is_rounded_to_the_upper_bound_is_drawn_again(monkeypatch):
    outputs = iter([[5, 2**32 - 1, 7], [2**31]])
    generator = Mt19937(0)
    monkeypatch.setattr(generator, "draws", lambda count: np.array(next(outputs), np.uint32))
    filled = np.empty(3, np.float32)
    generator.uniform(filled, 0, 1)
    np.testing.assert_allclose(filled, [5 / 2**32, 7 / 2**32, 0.5], 1e-6)


def test_bernoulli_keeps_what_is_not_above_its_share_of_the_range():
    ours, same = Mt19937(12), Mt19937(12)
    np.testing.assert_array_equal(ours.bernoulli(1000, 0.3), same.draws(1000) <= 0.3 * (2**32 - 1))
    assert ours.bernoulli(10, 1).all()
    same.draws(10)
    assert not ours.bernoulli(10, 0).any()  # and nothing is drawn
    assert ours.draw() == same.draw()


def test_kernels_seeds_leave_the_process_generator_alone():
    rng.set_random_seed(5)
    first = [rng.kernel_seed() for _ in range(4)]
    assert rng.process().draw() == Mt19937(5).draw()
    rng.set_random_seed(5)
    assert [rng.kernel_seed() for _ in range(4)] == first
    assert len(set(first)) == 4
    assert all(0 <= seed < 2**31 for seed in first)
