"""Which work one thread does alone: by its size, nothing is measured."""

from caffepy.device.onednn.work import is_small


def test_a_reorder_of_a_few_hundred_weights_wakes_nobody() -> None:
    assert is_small([(20, 1, 5, 5), (20, 1, 5, 5)])
    assert is_small([(64, 500), (64, 500)])
    assert not is_small([(1, 96, 55, 55), (1, 96, 55, 55)])


def test_a_products_operations_count_more_than_its_bytes() -> None:
    image, weights, top = (1, 32, 14, 14), (32, 32, 3, 3), (1, 32, 14, 14)
    assert is_small([image, weights, top])
    assert not is_small([image, weights, top], product=True)  # 3.6 million operations, 30 us of a core
    assert is_small([image, (32, 32, 1, 1), top], product=True)


def test_groups_make_products_smaller() -> None:
    image, top = (1, 64, 14, 14), (1, 64, 14, 14)
    assert is_small([image, (64, 1, 1, 3, 3), top], product=True)
    assert not is_small([image, (64, 64, 3, 3), top], product=True)


def test_without_a_result_only_bytes_count() -> None:
    assert is_small([(), (5,)], product=True)
