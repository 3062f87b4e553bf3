"""ImageData: batches of pictures that a text file lists."""

from caffepy.data.sources import ImageListSource, Source
from caffepy.data.transform import DataTransformer
from caffepy.layer import register
from caffepy.layers.data.prefetching import PrefetchingLayer
from caffepy.proto.caffe_pb2 import ImageDataParameter
from caffepy.rng import Mt19937, process


@register("ImageData", bottoms=0, tops=2)
class ImageData(PrefetchingLayer):
    """Nothing -> data (batch_size, channels, height, width), labels (batch_size): the pictures of `source`'s lines
    `name label`, from the first again behind the last (Caffe: image_data_layer.cpp).

    is_color decides on grey, transform_param's force_gray does not.
    """

    def batch_size(self) -> int:
        return self.param.image_data_param.batch_size

    def open(self) -> tuple[Source, DataTransformer]:
        p = self.param.image_data_param
        if (p.new_height > 0) != (p.new_width > 0):
            raise self.error(f"give new_height and new_width both, got {p.new_height} and {p.new_width}")
        if p.new_length > 1 or p.is_flow or p.label_type != ImageDataParameter.IMAGE:
            raise self.error(
                "new_length, is_flow and label_type belong to types of forks; ImageData has single pictures"
            )
        source = ImageListSource(
            p.source,
            p.root_folder,
            color=p.images_in_color if p.HasField("images_in_color") else p.is_color,
            size=(p.new_height, p.new_width),
            shuffle=Mt19937(process().draw()) if p.shuffle else None,
        )
        if p.rand_skip:
            source.first = process().draw() % p.rand_skip
            if source.first >= len(source.lines):
                raise self.error(f"rand_skip skips {source.first} of the {len(source.lines)} lines of {p.source!r}")
        return source, self.transformer
