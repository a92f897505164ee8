"""The backbone that a Config names: from the molded image to the stages C1 to C5.

All maps are channels-last; C2 has a quarter of the image's side, C5 a thirty-second.
"""

from frcnn.arrays import Tensor
from frcnn.config import Config
from frcnn.network.densenet import densenet_graph
from frcnn.network.precision import Policy
from frcnn.network.resnet import RESNET_BLOCKS, resnet_graph


def backbone_graph(input_image: Tensor, config: Config,
                   dtype: Policy = None) -> list[Tensor | None]:
    """The backbone that the Config names.

    Args:
        input_image: molded image `[B, H, W, C]`.
        config: Config; `BACKBONE` and `TRAIN_BN` are read.
        dtype: the layers' dtype policy; None is Keras's global one. A callable `BACKBONE` does not
            get it.

    Returns:
        The list C1 to C5 of maps (C1 may be None).
    """
    if callable(config.BACKBONE):
        return config.BACKBONE(input_image, stage5=True, train_bn=config.TRAIN_BN)
    graph = resnet_graph if config.BACKBONE in RESNET_BLOCKS else densenet_graph
    return graph(input_image, config.BACKBONE, stage5=True, train_bn=config.TRAIN_BN, dtype=dtype)
