"""Writes train_val.prototxt and deploy.prototxt: SqueezeNet v1.1's features, which stay, and a layer for ten classes.

The layers of the features are called as in the published squeezenet_v1.1.caffemodel, so that its weights find them
(Iandola et al. 2016, arXiv 1602.07360). lr_mult 0 keeps them: no gradient is computed there, nor anything below the new
layer.
"""

from pathlib import Path

import caffepy as caffe
from caffepy import layers as L
from caffepy import params as P

HERE = Path(__file__).parent
STAYS = {"lr_mult": 0}
CLASSES = 10
FIRES = ((2, 16, 64), (3, 16, 64), None, (4, 32, 128), (5, 32, 128), None, (6, 48, 192), (7, 48, 192), (8, 64, 256))
"""Number, width of the squeeze, width of each half of the expansion; None is a pooling."""
DATA = """
layer {
  name: "data"
  type: "Data"
  top: "data"
  top: "label"
  include { phase: %s }
  transform_param { mean_value: 104 mean_value: 117 mean_value: 123 mirror: %s }
  data_param { source: "%s_lmdb" batch_size: %d backend: LMDB }
}
"""


def convolution(net: caffe.NetSpec, name: str, bottom: object, width: int, kernel: int, **more: int) -> object:
    """A convolution that stays as it is, and its ReLU."""
    param = {"num_output": width, "kernel_size": kernel, **more}
    net[name] = L.Convolution(bottom, param=[STAYS, STAYS], **param)
    folder, _, own = name.rpartition("/")
    net[f"{folder}/relu_{own}" if folder else f"relu_{own}"] = top = L.ReLU(net[name], in_place=True)
    return top


def fire(net: caffe.NetSpec, number: int, bottom: object, squeeze: int, expand: int) -> object:
    """Few channels, then many by 1 x 1 and 3 x 3 windows side by side."""
    name = f"fire{number}"
    few = convolution(net, f"{name}/squeeze1x1", bottom, squeeze, 1)
    halves = [convolution(net, f"{name}/expand{k}x{k}", few, expand, k, pad=k // 2) for k in (1, 3)]
    net[f"{name}/concat"] = top = L.Concat(*halves)
    return top


def body(net: caffe.NetSpec, top: object) -> object:
    """Features and scores, (N, classes, 1, 1)."""
    top = convolution(net, "conv1", top, 64, 3, stride=2)
    net["pool1"] = top = L.Pooling(top, pool=P.Pooling.MAX, kernel_size=3, stride=2)
    for place, step in enumerate((*FIRES, (9, 64, 256))):
        if step is None:
            net[f"pool{place + 1}"] = top = L.Pooling(top, pool=P.Pooling.MAX, kernel_size=3, stride=2)
        else:
            top = fire(net, step[0], top, *step[1:])
    net["drop9"] = top = L.Dropout(top, dropout_ratio=0.5, in_place=True)
    filler = {"type": "xavier"}
    net["conv10_garments"] = top = L.Convolution(top, num_output=CLASSES, kernel_size=1, weight_filler=filler)
    net["pool10"] = top = L.Pooling(top, pool=P.Pooling.AVE, global_pooling=True)
    return top


def main() -> None:
    """Write both files beside this one."""
    deploy = caffe.NetSpec()
    deploy["data"] = L.Input(shape={"dim": [1, 3, 227, 227]})
    deploy["prob"] = L.Softmax(body(deploy, deploy["data"]))
    (HERE / "deploy.prototxt").write_text(f'name: "garments"\n{deploy.to_proto()}')

    train = caffe.NetSpec()
    train["data"], train["label"] = L.Input(ntop=2, shape=[{"dim": [1, 3, 227, 227]}, {"dim": [1]}])
    scores = body(train, train["data"])
    train["accuracy"] = L.Accuracy(scores, train["label"], include={"phase": caffe.TEST})
    train["loss"] = L.SoftmaxWithLoss(scores, train["label"])
    net = train.to_proto()
    del net.layer[0]
    data = DATA % ("TRAIN", "true", "train", 20) + DATA % ("TEST", "false", "test", 20)
    (HERE / "train_val.prototxt").write_text(f'name: "garments"\n{data}{net}')


if __name__ == "__main__":
    main()
