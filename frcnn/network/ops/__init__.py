"""Tensor arithmetic of the network outside layers; only this package may name a backend."""

from frcnn.network.ops.backend import (
    compiled,
    has_accelerator,
    portable_kernels,
    uses_tensorflow_kernels,
)
from frcnn.network.ops.boxes import (
    apply_box_deltas_graph,
    box_refinement_graph,
    clip_boxes_graph,
    denorm_boxes_exactly,
    denorm_boxes_graph,
    log2_graph,
    norm_boxes_graph,
    overlaps_graph,
)
from frcnn.network.ops.image_meta import parse_image_meta_graph
from frcnn.network.ops.normalization import normalize_batch, normalize_by_statistics
from frcnn.network.ops.norms import global_norm
from frcnn.network.ops.rows import (
    batch_pack_graph,
    batch_slice,
    pad_rows,
    smaller,
    take_of_each,
    take_rows,
    take_rows_summing,
    trim_zeros_graph,
)
from frcnn.network.ops.sampling import crop_levels
from frcnn.network.ops.suppression import nms_indices, soft_nms, suppress
from frcnn.network.ops.watch import Watch

__all__ = [
    "Watch",
    "apply_box_deltas_graph",
    "batch_pack_graph",
    "batch_slice",
    "box_refinement_graph",
    "clip_boxes_graph",
    "compiled",
    "crop_levels",
    "denorm_boxes_exactly",
    "denorm_boxes_graph",
    "global_norm",
    "has_accelerator",
    "log2_graph",
    "nms_indices",
    "norm_boxes_graph",
    "normalize_batch",
    "normalize_by_statistics",
    "overlaps_graph",
    "pad_rows",
    "parse_image_meta_graph",
    "portable_kernels",
    "smaller",
    "soft_nms",
    "suppress",
    "take_of_each",
    "take_rows",
    "take_rows_summing",
    "trim_zeros_graph",
    "uses_tensorflow_kernels",
]
