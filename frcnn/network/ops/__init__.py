"""Tensor arithmetic of the network outside layers; only this package may name a backend."""

from frcnn.network.ops.backend import (
    Accelerator,
    ExportTarget,
    accelerators,
    argmax,
    compiled,
    current_export_target,
    enable_determinism,
    export_target,
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
from frcnn.network.ops.by_image import by_image, top_k
from frcnn.network.ops.gradients import custom_gradient, gradients_end_with_the_graph
from frcnn.network.ops.image_meta import parse_image_meta_graph
from frcnn.network.ops.normalization import normalize_batch, normalize_by_statistics
from frcnn.network.ops.norms import global_norm
from frcnn.network.ops.processes import (
    copy,
    device_names,
    devices_of_processes,
    gather_bytes,
    highest,
    join,
    leave,
    process_place,
)
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
from frcnn.network.ops.sampling import crop_levels, crop_levels_for_onnx
from frcnn.network.ops.suppression import nms_indices, soft_nms, suppress
from frcnn.network.ops.surroundings import check_backend, check_strategy, default_policy
from frcnn.network.ops.watch import Watch

__all__ = [
    "Accelerator",
    "ExportTarget",
    "Watch",
    "accelerators",
    "apply_box_deltas_graph",
    "argmax",
    "batch_pack_graph",
    "batch_slice",
    "box_refinement_graph",
    "by_image",
    "check_backend",
    "check_strategy",
    "clip_boxes_graph",
    "compiled",
    "copy",
    "crop_levels",
    "crop_levels_for_onnx",
    "current_export_target",
    "custom_gradient",
    "default_policy",
    "denorm_boxes_exactly",
    "denorm_boxes_graph",
    "device_names",
    "devices_of_processes",
    "enable_determinism",
    "export_target",
    "gather_bytes",
    "global_norm",
    "gradients_end_with_the_graph",
    "has_accelerator",
    "highest",
    "join",
    "leave",
    "log2_graph",
    "nms_indices",
    "norm_boxes_graph",
    "normalize_batch",
    "normalize_by_statistics",
    "overlaps_graph",
    "pad_rows",
    "parse_image_meta_graph",
    "portable_kernels",
    "process_place",
    "smaller",
    "soft_nms",
    "suppress",
    "take_of_each",
    "take_rows",
    "take_rows_summing",
    "top_k",
    "trim_zeros_graph",
    "uses_tensorflow_kernels",
]
