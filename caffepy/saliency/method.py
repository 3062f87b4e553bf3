"""Methods: one meaning of arguments for all of them, and wrappers that compose."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from caffepy.errors import ArgumentError, nearest
from caffepy.net import Net
from caffepy.net.gradient import VersionName
from caffepy.saliency import parameters as parameters_of
from caffepy.saliency.finite import check_finite
from caffepy.saliency.result import Fold, Saliency, of_subject
from caffepy.saliency.subject import Subject, opened

Compute = Callable[..., Sequence[Any]]
"""(subject, **parameters) -> for each goal an array on the device, images first."""

METHODS: dict[str, "Method"] = {}


@dataclass(frozen=True, eq=False)
class Method:
    """One way to say what a score depends on.

        method(net, image, target="top", *, layer, input, output, before_softmax, preprocess, batch, **parameters)

    net             any Net; its labels and preprocess, if it has them, are used
    image           a picture (file name, array of 0 to 1, Pillow image) or the net's input (N, channels, height,
                    width); or a list of pictures
    target          a class by its index or name, "top" (the best), Top(5), Unit("conv5", 3), Position, Region, Box,
                    a function of the net that returns diffs; or a list: one for each image, or for one image several
    layer           the blob explained, or (blob, layer) for what that layer wrote of it; default: the input
    input           the input that takes the images, where the net has several
    output          the blob of class scores; default: the net's only output
    before_softmax  explain the score that enters a final Softmax, not the probability that leaves it; default: so, but
                    for methods that are defined by probabilities
    preprocess      a Preprocess or io.Transformer; default: the net's, else ImageNet's for three channels
    batch           images in a pass; default: by memory

    Returns a Saliency. Raises ArgumentError, UnknownBlobError or UnknownLayerError. A wrapper given a method instead
    of a net returns the method it makes of it: smoothgrad(guided_backprop, samples=20)(net, image).
    """

    name: str
    compute: Compute
    fold: Fold
    wraps: bool = False
    """It takes another method as `of`."""
    given: tuple[tuple[str, Any], ...] = ()
    probability: bool = False
    """It explains the probability unless told otherwise."""

    def __call__(
        self,
        net: "Net | Method",
        image: Any = None,
        target: Any = "top",
        *,
        layer: VersionName | None = None,
        input: str | None = None,
        output: str | None = None,
        before_softmax: bool | None = None,
        preprocess: Any = None,
        batch: int | None = None,
        **parameters: Any,
    ) -> Any:
        if isinstance(net, Method):
            made = self.over(net, **parameters)
            if image is None:
                return made
            raise ArgumentError(f"{self.name}({net.name}) is a method; call it: {self.name}({net.name})(net, image)")
        chosen = {**dict(self.given), **parameters}
        with opened(
            net,
            image,
            target,
            layer=layer,
            input=input,
            output=output,
            before_softmax=not self.probability if before_softmax is None else before_softmax,
            preprocess=preprocess,
            batch=batch,
        ) as subject:
            return self.explain(subject, preprocess, **chosen)

    def explain(self, subject: Subject, preprocess: Any = None, **parameters: Any) -> Saliency:
        """The same for a subject."""
        chosen = {**dict(self.given), **parameters}
        parameters_of.check(self.name, self.compute, chosen, Method)
        arrays = list(self.compute(subject, **chosen))
        check_finite(subject.scores(), arrays)
        shown = {name: value.name if isinstance(value, Method) else value for name, value in chosen.items()}
        return of_subject(subject.net, self.name, shown, arrays, subject, self._fold(chosen), preprocess)

    def over(self, of: "Method", **parameters: Any) -> "Method":
        """The method that this wrapper makes of another."""
        if not self.wraps:
            raise ArgumentError(f"{self.name} wraps no other method; smoothgrad and its kin do")
        given = tuple({**dict(self.given), **parameters, "of": of}.items())
        return Method(f"{self.name}({of.name})", self.compute, of.fold, True, given)

    @property
    def parameters(self) -> str:
        """The parameters that it takes beside those all methods have, with their defaults."""
        return parameters_of.described(self.compute)

    def _fold(self, chosen: dict[str, Any]) -> Fold:
        of = chosen.get("of")
        fold: Fold = of.fold if isinstance(of, Method) else self.fold
        return fold


def method(name: str, fold: Fold, *, wraps: bool = False, probability: bool = False) -> Callable[[Compute], Method]:
    """Enter a function as the method of that name."""

    def enter(compute: Compute) -> Method:
        made = Method(name, compute, fold, wraps, probability=probability)
        object.__setattr__(made, "__doc__", f"{compute.__doc__}\n\n{Method.__doc__}")
        METHODS[name] = made
        return made

    return enter


def named(name: str) -> Method:
    """The method of that name; raises ArgumentError."""
    wanted = name.strip().lower().replace("_", "-")
    if wanted not in METHODS:
        raise ArgumentError(f"there is no method {name!r}{nearest(wanted, METHODS)}; there are {', '.join(METHODS)}")
    return METHODS[wanted]
