"""A sum of a product's top and of something that is there before: the product adds it while it writes."""

from caffepy.blob import Floats
from caffepy.cpu.build import Builder
from caffepy.cpu.folding import Fold, again
from caffepy.cpu.homes import Computed
from caffepy.cpu.record import Operation
from caffepy.device.onednn.handles import address


def following_sum(b: Builder, product: Operation) -> Operation | None:
    """A sum of two that comes next, and counts as done, of which one is the product's top.

    The top is then left out, so it must be possible to compute it again, unless nobody can ask.
    """
    top, image = product["top_data"], product["bottom_data"]
    operation = b.operations[b.at] if b.at < len(b.operations) else None
    if operation is None or operation.name != "eltwise_sum_forward" or product.constants["negative_slope"] != 1:
        return None
    places = [address(operation[name]) for name in ("first_data", "second_data", "top_data")]
    coefficients = operation.constants["first_coeff"], operation.constants["second_coeff"]
    if len({*places}) < 3 or address(top) not in places[:2] or coefficients != (1, 1):
        return None
    if not (b.whole(top) and b.whole(other_operand(operation, top))) or b.is_wanted(top):
        return None
    if not (b.lent(top) or b.stands(image)):
        return None
    b.at += 1
    return operation


def other_operand(summed: Operation, top: Floats) -> Floats:
    """What is added to the product's top."""
    first: Floats = summed["first_data"]
    second: Floats = summed["second_data"]
    return second if address(first) == address(top) else first


def leave_out_top(b: Builder, product: Operation, fold: Fold | None) -> None:
    """The product's top is computed when somebody asks for it."""
    operations = (product, *(fold.operations if fold else ()))
    b.compute(product["top_data"], Computed(again(b, operations, "top_data")))
