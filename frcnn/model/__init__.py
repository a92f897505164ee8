"""The detector: `MaskRCNN`, and every part of it under the reference's name.

This is a face: it defines nothing, and nothing inside the package imports it. Notebooks commonly
import it as `modellib`.
"""
# ruff: noqa: F401

import frcnn.keras_import
from frcnn.anchors import compute_backbone_shapes
from frcnn.examples import load_image_gt
from frcnn.images import compose_image_meta, mold_image, parse_image_meta, unmold_image
from frcnn.loader import data_generator
from frcnn.model.backbone import densenet_graph, resnet_graph
from frcnn.model.detection import (
    DetectionLayer,
    detection_steps,
    parse_image_meta_graph,
    refine_detections,
)
from frcnn.model.detection_target import DetectionTargetLayer, detection_targets_graph
from frcnn.model.head import fpn_classifier_graph
from frcnn.model.inspection import log
from frcnn.model.losses import (
    mrcnn_bbox_loss_graph,
    mrcnn_class_loss_graph,
    rpn_bbox_loss_graph,
    rpn_class_loss_graph,
    smooth_l1_loss,
)
from frcnn.model.mask_rcnn import MaskRCNN
from frcnn.model.ops import (
    apply_box_deltas_graph,
    batch_pack_graph,
    box_refinement_graph,
    clip_boxes_graph,
    denorm_boxes_graph,
    log2_graph,
    norm_boxes_graph,
    overlaps_graph,
    trim_zeros_graph,
)
from frcnn.model.proposal import ProposalLayer, proposal_steps
from frcnn.model.roi_align import PyramidROIAlign
from frcnn.model.rpn import build_rpn_model, rpn_graph
from frcnn.targets import build_detection_targets, build_rpn_targets, generate_random_rois
