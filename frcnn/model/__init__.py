"""Compatibility namespace: `MaskRCNN`, and every part of the detector under the reference's name.

It defines nothing but what says that there are no masks, and nothing inside the package imports it.
Notebooks commonly import it as `modellib`.
"""
# ruff: noqa: E402, F401

from frcnn.compatibility import left_out
from frcnn.startup import import_keras

import_keras()  # before the modules below do, which would take longer

from frcnn.data.examples import load_image_gt
from frcnn.data.generator import data_generator
from frcnn.data.image_meta import compose_image_meta, parse_image_meta
from frcnn.data.molding import mold_image, unmold_image
from frcnn.data.targets import build_detection_targets, build_rpn_targets, generate_random_rois
from frcnn.geometry.anchors import compute_backbone_shapes
from frcnn.model.mask_rcnn import MaskRCNN
from frcnn.network.densenet import densenet_graph
from frcnn.network.inspection import log
from frcnn.network.layers import BatchNorm
from frcnn.network.losses import (
    mrcnn_bbox_loss_graph,
    mrcnn_class_loss_graph,
    rpn_bbox_loss_graph,
    rpn_class_loss_graph,
    smooth_l1_loss,
)
from frcnn.network.ops import (
    apply_box_deltas_graph,
    batch_pack_graph,
    box_refinement_graph,
    clip_boxes_graph,
    denorm_boxes_graph,
    log2_graph,
    norm_boxes_graph,
    overlaps_graph,
    parse_image_meta_graph,
    trim_zeros_graph,
)
from frcnn.network.postprocess import (
    DetectionLayer,
    detection_steps,
    refine_detections,
    refine_detections_graph,
)
from frcnn.network.proposals import ProposalLayer, proposal_steps
from frcnn.network.resnet import conv_block, identity_block, resnet_graph
from frcnn.network.roi_align import PyramidROIAlign
from frcnn.network.roi_head import fpn_classifier_graph
from frcnn.network.roi_targets import DetectionTargetLayer, detection_targets_graph
from frcnn.network.rpn import build_rpn_model, rpn_graph

build_fpn_mask_graph = left_out("build_fpn_mask_graph")
mrcnn_mask_loss_graph = left_out("mrcnn_mask_loss_graph")
