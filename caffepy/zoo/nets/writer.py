"""What the nets are written with: NetSpec, and the few layers that they are made of."""

from typing import Any

from caffepy.net_spec import NetSpec, Top, layers
from caffepy.proto.caffe_pb2 import NetParameter

MSRA = {"type": "msra"}


class Writer:
    """Adds layers to a spec; every method takes a top to go on from and gives the new one."""

    def __init__(self, name: str, batch: int, size: int) -> None:
        self._name, self.spec = name, NetSpec()
        self.data = self.add("data", "Input", input_param={"shape": {"dim": [batch, 3, size, size]}})

    def net(self) -> NetParameter:
        """What was written."""
        net = self.spec.to_proto()
        net.name = self._name
        return net

    def add(self, name: str, kind: str, *bottoms: Top, **settings: Any) -> Top:
        """Any layer with one top, by the name of the layer."""
        top: Top = getattr(layers, kind)(*bottoms, **settings)
        self.spec[name] = top
        return top

    def conv(self, name: str, bottom: Top, outputs: int, kernel: int | tuple[int, int], **settings: Any) -> Top:
        """A convolution; a pair is height and width."""
        if isinstance(kernel, tuple):
            settings["kernel_h"], settings["kernel_w"] = kernel
        else:
            settings["kernel_size"] = kernel
        return self.add(name, "Convolution", bottom, num_output=outputs, weight_filler=MSRA, **settings)

    def conv_relu(
        self, name: str, bottom: Top, outputs: int, kernel: int, relu: str | None = None, **settings: Any
    ) -> Top:
        """A convolution and a ReLU in place, named `relu`, or as in VGG's nets."""
        top = self.conv(name, bottom, outputs, kernel, **settings)
        return self.relu(relu or name.replace("conv", "relu"), top)

    def relu(self, name: str, bottom: Top) -> Top:
        """In place."""
        return self.add(name, "ReLU", bottom, in_place=True)

    def pool(self, name: str, bottom: Top, kernel: int, stride: int = 1, *, average: bool = False, pad: int = 0) -> Top:
        """Maxima, or averages."""
        window = {"kernel_size": kernel, "stride": stride} | ({"pad": pad} if pad else {})
        return self.add(name, "Pooling", bottom, pool=int(average), **window)

    def average_all(self, name: str, bottom: Top) -> Top:
        """The mean of each channel."""
        return self.add(name, "Pooling", bottom, pool=1, global_pooling=True)

    def lrn(self, name: str, bottom: Top) -> Top:
        """Across five channels."""
        return self.add(name, "LRN", bottom, local_size=5, alpha=1e-4, beta=0.75)

    def fc(self, name: str, bottom: Top, outputs: int) -> Top:
        """An inner product."""
        return self.add(name, "InnerProduct", bottom, num_output=outputs, weight_filler=MSRA)

    def dropout(self, name: str, bottom: Top, ratio: float = 0.5) -> Top:
        """In place."""
        return self.add(name, "Dropout", bottom, in_place=True, dropout_ratio=ratio)

    def norm(self, bn: str, scale: str, bottom: Top, *, in_place: bool = True) -> Top:
        """BatchNorm, then Scale with a bias in place."""
        top = self.add(bn, "BatchNorm", bottom, in_place=in_place)
        return self.add(scale, "Scale", top, in_place=True, bias_term=True)

    def softmax(self, bottom: Top) -> NetParameter:
        """The end: probabilities `prob`."""
        self.add("prob", "Softmax", bottom)
        return self.net()
