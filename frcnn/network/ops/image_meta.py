"""The image meta vector on tensors."""

from frcnn.arrays import Tensor
from frcnn.data.image_meta import META_PLACES


def parse_image_meta_graph(meta: Tensor) -> dict[str, Tensor]:
    """The parts of image metas by name, as slices of the tensor.

    Args:
        meta: `[B, META]`, see `frcnn.data.image_meta.compose_image_meta`.

    Returns:
        Dict with the keys of `parse_image_meta`, of the dtype of `meta`; shapes and window are in
        pixels.
    """
    return {name: meta[:, place] for name, place in META_PLACES.items()}
