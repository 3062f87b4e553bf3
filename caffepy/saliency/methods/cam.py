"""Class activation maps: a blob's channels, weighted by what the score's gradient says of them."""

from typing import Any

from caffepy.errors import ArgumentError
from caffepy.net.gradient import VersionName
from caffepy.rules import GUIDED
from caffepy.rules.operations import part_of
from caffepy.saliency.method import method
from caffepy.saliency.operations import blend_forward, cam_weights, channel_sum_forward, product_of
from caffepy.saliency.resample import resized
from caffepy.saliency.subject import Subject, zeros


@method("grad-cam", "largest")
def grad_cam(subject: Subject) -> list[Any]:
    """max(sum over c of w_c A_c, 0), w_c the mean of dS/dA_c over positions (Selvaraju et al. 2017, arXiv 1610.02391).

    Without `layer`, A is the last blob with height and width before the score that is not itself a map of classes.
    """
    return _weighted(subject, plus_plus=False)


@method("grad-cam-plus-plus", "largest")
def grad_cam_plus_plus(subject: Subject) -> list[Any]:
    """Grad-CAM with w_c a weighted sum of the positive gradients (Chattopadhay et al. 2018, arXiv 1710.11063)."""
    return _weighted(subject, plus_plus=True)


@method("layer-cam", "largest")
def layer_cam(subject: Subject) -> list[Any]:
    """max(sum over c of max(dS/dA_c, 0) A_c, 0), each place with its own weight (Jiang et al. 2021, IEEE TIP 30)."""
    return _each_place(subject, only_positive=True, rectify=True)


@method("hires-cam", "largest")
def hires_cam(subject: Subject) -> list[Any]:
    """max(sum over c of dS/dA_c A_c, 0) (Draelos & Carin 2020, arXiv 2011.08891)."""
    return _each_place(subject, only_positive=False, rectify=True)


@method("linear-approximation", "sum")
def linear_approximation(subject: Subject) -> list[Any]:
    """sum over c of dS/dA_c A_c, with its sign: the score's linear part at each place (Fong et al. 2019)."""
    return _each_place(subject, only_positive=False, rectify=False)


@method("guided-grad-cam", "largest")
def guided_grad_cam(subject: Subject) -> list[Any]:
    """Guided backpropagation to the image times Grad-CAM of the blob (Selvaraju et al. 2017)."""
    cams, products = _weighted(subject, plus_plus=False), []
    for guided, cam in zip(subject.gradients(subject.input, GUIDED), cams, strict=True):
        num, channels, height, width = guided.shape
        wide, product, black = resized(cam, height, width), zeros(guided.shape), zeros(guided.shape[1:])
        for n in range(num):
            own = slice(n, n + 1)
            blend_forward(guided[own], black, wide[own], channels, height * width, product[own])
        products.append(product)
    return products


def spatial_layer(subject: Subject) -> VersionName:
    """The blob that a CAM is of: the one asked for, or the last with height and width before the score.

    As the last layer in place left it. Raises ArgumentError where there is none.
    """
    net = subject.net
    if subject.layer != subject.input:
        name = subject.layer if isinstance(subject.layer, str) else subject.layer[0]
        shape = net.blob(name).shape
        if len(shape) != 4:
            raise ArgumentError(f"a CAM needs a blob (N, channels, height, width); {name!r} has shape {shape}")
        return subject.layer if isinstance(subject.layer, tuple) else _last(subject, name)
    scores = {name if isinstance(name, str) else name[0] for goal in subject.goals for name in goal.now(net)}
    classes = {net.blob(name).shape[1] for name in scores if len(net.blob(name).shape) > 1}
    upstream = _upstream(subject, scores)
    for name in reversed(net.wiring.blobs):
        shape = net.blob(name).shape
        spatial = len(shape) == 4 and shape[2] * shape[3] > 1 and shape[1] not in classes
        if name in upstream - {subject.input} and spatial:
            return _last(subject, name)
    raise ArgumentError(
        "a CAM needs a blob with height and width between the input and the score, and this net has none; gradient, "
        "smoothgrad, integrated-gradients, lrp and the others of the input apply"
    )


def _last(subject: Subject, blob: str) -> VersionName:
    net = subject.net
    return blob, net.execution.layers[net.wiring.versions(net.blob_index(blob))[-1][0]].name


def _upstream(subject: Subject, blobs: set[str]) -> set[str]:
    """The blobs that these are computed of, splits left out."""
    net, found = subject.net, {subject.net.blob_index(name) for name in blobs}
    for i in reversed(range(len(net.execution.layers))):
        if found.intersection(net.wiring.tops[i]):
            found.update(net.wiring.bottoms[i])
    layers = enumerate(net.execution.layers)
    splits = {top for i, layer in layers if layer.type == "Split" for top in net.wiring.tops[i]}
    return {net.wiring.blobs[i] for i in found - splits}


def _weighted(subject: Subject, *, plus_plus: bool) -> list[Any]:
    name = spatial_layer(subject)
    data, maps = subject.data(name), []
    num, channels, height, width = data.shape
    for gradient in subject.gradients(name):
        weights, cam = zeros((num, channels)), zeros((num, height, width))
        cam_weights(data, gradient, height * width, int(plus_plus), weights)
        channel_sum_forward(data, weights, channels, height * width, 1, cam)
        maps.append(cam)
    return maps


def _each_place(subject: Subject, *, only_positive: bool, rectify: bool) -> list[Any]:
    name = spatial_layer(subject)
    data, maps = subject.data(name), []
    num, channels, height, width = data.shape
    for gradient in subject.gradients(name):
        if only_positive:
            part_of(gradient, 1.0, gradient)
        product_of(gradient, data, gradient)
        cam = zeros((num, height, width))
        channel_sum_forward(gradient, None, channels, height * width, int(rectify), cam)
        maps.append(cam)
    return maps
