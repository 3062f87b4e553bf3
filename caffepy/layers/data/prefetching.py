"""What Data, ImageData and WindowData have in common: batches made ahead on a thread."""

from collections.abc import Sequence
from typing import ClassVar

from caffepy.blob import Arrays, Floats, Shape
from caffepy.data.bad_records import skipping
from caffepy.data.batch_maker import BatchMaker
from caffepy.data.prefetch import Prefetcher
from caffepy.data.sources import Source
from caffepy.data.transform import DataTransformer
from caffepy.device.ranks import solver_count, solver_rank
from caffepy.errors import DataError
from caffepy.layer import Layer
from caffepy.proto.caffe_pb2 import TRAIN, LayerParameter
from caffepy.rng import process


def write(top: Arrays, value: Floats) -> None:
    """top's data = value, of whatever shape, in the memory that the net then gives the shape to."""
    top.blob().data_storage.host(value.size, "overwrite")[...] = value.reshape(-1)


class PrefetchingLayer(Layer):
    """Nothing -> data (batch_size, channels, height, width), labels (batch_size).

    Each batch has the shape of its first item. Draws of chance are Caffe's, in its order (base_data_layer.cpp).
    """

    host = True
    shared: ClassVar[bool] = False
    """Whether solvers that train in parallel take turns at the items; else each goes through all of them."""

    # ---- what a layer type writes

    def batch_size(self) -> int:
        """Of its own parameter message."""
        raise NotImplementedError

    def open(self) -> tuple[Source, DataTransformer]:
        """The items and what transforms them; draws what the type draws at setup."""
        raise NotImplementedError

    # ---- what it tells

    @property
    def skipped(self) -> int:
        """How many bad records were left out: caffepy.data.skip_bad_records."""
        return self.prefetcher.maker.skipped

    @property
    def waited(self) -> float:
        """Seconds that forward passes have waited for batches."""
        return self.prefetcher.waited

    # ---- what the net calls

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        batch_size = self.batch_size()
        if batch_size < 1:
            raise self.error("batch_size must be at least 1")
        with self.named():
            self.transformer = DataTransformer(self.param.transform_param, self.phase)
            self.transformer.seed()
            source, transformer = self.open()
            self.transformer.seed()
            process().draw()  # Caffe's thread has a generator of its own, seeded by this draw and not used
            share = (solver_rank(), solver_count()) if self.shared and self.phase == TRAIN else (0, 1)
            maker = BatchMaker(source, transformer, batch_size, skip_bad=skipping(), share=share)
            self.prefetcher = Prefetcher(maker, self.param.data_param.prefetch)
            self.item_shape = maker.first_shape()

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        size = self.batch_size()
        return [(size, *self.item_shape), (size,)][: len(self.param.top)]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> Sequence[Shape]:
        with self.named():
            batch = self.prefetcher.take()
        for arrays, values in zip(top, (batch.data, batch.labels), strict=False):
            write(arrays, values)
        shapes = [batch.data.shape, batch.labels.shape]
        self.prefetcher.give_back(batch)
        return shapes[: len(top)]

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        """There is nothing below."""


def color_of(param: LayerParameter) -> bool | None:
    """How encoded pictures are decoded. Raises DataError where the settings exclude one another."""
    p = param.transform_param
    if p.force_color and p.force_gray:
        raise DataError("give force_color or force_gray, not both")
    return True if p.force_color else False if p.force_gray else None
