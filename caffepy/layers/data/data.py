"""Data: batches of a database's records."""

import logging

from caffepy.data.sources import DatabaseSource, Source
from caffepy.data.transform import DataTransformer
from caffepy.layer import register
from caffepy.layers.data.prefetching import PrefetchingLayer, color_of
from caffepy.proto.caffe_pb2 import DataParameter

log = logging.getLogger("caffepy")


@register("Data", bottoms=0, tops=(1, 2))
class Data(PrefetchingLayer):
    """Nothing -> data (batch_size, channels, height, width), labels (batch_size): Datum records of an LMDB or a LevelDB
    in the order of their keys, from the first again behind the last (Caffe: data_layer.cpp).

    rand_skip is read and ignored, as in Caffe. Of n solvers that train in parallel each takes every n-th record.
    """

    shared = True

    def batch_size(self) -> int:
        return self.param.data_param.batch_size

    def open(self) -> tuple[Source, DataTransformer]:
        p = self.param.data_param
        if p.shuffle:
            log.warning("layer %r (Data): data_param shuffle is a fork's; records come in the order of keys", self.name)
        return DatabaseSource(p.source, DataParameter.DB.Name(p.backend), color_of(self.param)), self.transformer
