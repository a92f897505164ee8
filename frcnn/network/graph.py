"""The whole detector, from the image to the losses or the detections.

    image → backbone → feature pyramid → RPN over P2 to P6 → proposals
          → RoI align over P2 to P5 → head → detections

In training, `DetectionTargetLayer` samples the proposals that train the head, and `SampledRPN`
computes the RPN again at the anchors that train it; the losses are in `detector.py`.
"""

import functools
from typing import NamedTuple

import keras
from keras import layers

from frcnn.arrays import Tensor
from frcnn.config import Config
from frcnn.errors import ArgumentError
from frcnn.network import ops as frcnn_ops
from frcnn.network.attention import level_attention
from frcnn.network.backbone import backbone_graph
from frcnn.network.cascade import cascade_inference_graph, cascade_training_graph
from frcnn.network.detector import Detector
from frcnn.network.fpn import fpn_graph
from frcnn.network.layers import NormBoxes
from frcnn.network.losses import LossSettings
from frcnn.network.postprocess import DetectionLayer
from frcnn.network.precision import dtype_policy
from frcnn.network.proposals import ProposalLayer
from frcnn.network.roi_head import fpn_classifier_graph
from frcnn.network.roi_targets import DetectionTargetLayer
from frcnn.network.rpn import Anchors, build_rpn_model
from frcnn.network.sampled_rpn import SampledRPN


def build_detector(mode: str, config: Config, seed: int | None = None) -> Detector:
    """Builds the detector, with random weights.

    Args:
        mode: "training" or "inference".
        config: Config.
        seed: of the RoI sampling in training; None draws one.

    Returns:
        Detector; `training_graph` and `inference_graph` name its inputs and outputs.

    Raises:
        ArgumentError: there is no such mode.
        BackendError: see `frcnn.network.ops.check_backend`.
    """
    frcnn_ops.check_backend()
    with frcnn_ops.default_policy():
        if mode == "training":
            return training_graph(config, seed)
        if mode == "inference":
            return inference_graph(config)
    raise ArgumentError(f'mode is {mode!r}; allowed are "training" and "inference".')


def inference_graph(config: Config) -> Detector:
    """The detection model.

    Inputs: `input_image`, `input_image_meta`. Outputs, a list: detections `[B, K, 6]` (see
    `DetectionLayer`), the head's probabilities `[B, N, C]` and deltas `[B, N, C, 4]`, proposals
    `[B, N, 4]` normalized, the RPN's probabilities `[B, A, 2]` and deltas `[B, A, 4]`.
    """
    inputs = image_inputs(config, training=False)
    pyramid = pyramid_graph(inputs["input_image"], config)
    rpn = rpn_over_levels(pyramid, config)
    rois = proposals_graph(rpn, inputs["input_image"], pyramid, config.POST_NMS_ROIS_INFERENCE,
                           config)
    head = functools.partial(head_graph, pyramid=pyramid, config=config)
    _, probabilities, deltas = of_head = head(rois)
    if config.CASCADE_IOUS:
        rois, probabilities, deltas = cascade_inference_graph(rois, of_head, head, config)
    detections = DetectionLayer(config, name="mrcnn_detection")(
        [rois, probabilities, deltas, inputs["input_image_meta"]])
    outputs = [detections, probabilities, deltas, rois, rpn.probabilities, rpn.deltas]
    return Detector(list(inputs.values()), outputs, name="mask_rcnn")


def training_graph(config: Config, seed: int | None = None) -> Detector:
    """The training model.

    Inputs: those of `image_inputs` and `target_inputs`. Outputs: a dict, by name. The RPN's losses
    read `rpn_sampled_match`, `rpn_sampled_logits` and `rpn_sampled_bbox`; the RPN's outputs over
    all anchors only serve to make proposals, and get no gradient.
    """
    inputs = {**image_inputs(config, training=True), **target_inputs(config)}
    image = inputs["input_image"]
    pyramid = pyramid_graph(image, config)

    rpn = rpn_over_levels(pyramid, config)
    match, sampled_logits, sampled_deltas = SampledRPN(
        rpn.model, len(config.RPN_ANCHOR_RATIOS), config.RPN_ANCHOR_STRIDE,
        config.RPN_TRAIN_ANCHORS_PER_IMAGE, name="rpn_sampled",
    )([inputs["input_rpn_match"], *rpn_levels(pyramid, config)], rpn_output=rpn.level_logits[-1])

    if config.USE_RPN_ROIS:
        proposals = proposals_graph(rpn, image, pyramid, config.POST_NMS_ROIS_TRAINING, config)
    else:
        proposals = NormBoxes(name="ROI")([inputs["input_rois"], image])
    gt_boxes = NormBoxes(name="gt_boxes")([inputs["input_gt_boxes"], image])
    rois, class_ids, target_deltas = DetectionTargetLayer(config, seed, name="proposal_targets")(
        [proposals, inputs["input_gt_class_ids"], gt_boxes])
    head = functools.partial(head_graph, pyramid=pyramid, config=config)
    logits, probabilities, deltas = of_head = head(rois)

    outputs = {
        "rpn_class_logits": rpn.logits, "rpn_class": rpn.probabilities, "rpn_bbox": rpn.deltas,
        "rpn_sampled_match": match, "rpn_sampled_logits": sampled_logits,
        "rpn_sampled_bbox": sampled_deltas,
        "rpn_rois": proposals,
        "output_rois": rois, "target_class_ids": class_ids, "target_bbox": target_deltas,
        "mrcnn_class_logits": logits, "mrcnn_class": probabilities, "mrcnn_bbox": deltas,
    }
    if config.CASCADE_IOUS:
        outputs |= cascade_training_graph(rois, of_head, inputs["input_gt_class_ids"], gt_boxes,
                                          head, config)
    return Detector(inputs, outputs, name="mask_rcnn",
                    loss_settings=LossSettings.from_settings(config))


# --- inputs -----------------------------------------------------------------------------------


def image_inputs(config: Config, training: bool) -> dict[str, Tensor]:
    """`input_image` `[B, H, W, C]`, molded, and `input_image_meta` `[B, META]`.

    H and W are fixed in the resize mode "square", in training also in "crop" (which crops in
    training only); in other modes they are None.
    """
    has_one_shape = config.IMAGE_RESIZE_MODE in (("square", "crop") if training else ("square",))
    sides = config.IMAGE_SHAPE[:2].tolist() if has_one_shape else (None, None)
    return {
        "input_image": keras.Input((*sides, config.IMAGE_CHANNEL_COUNT), name="input_image"),
        "input_image_meta": keras.Input((config.IMAGE_META_SIZE,), name="input_image_meta"),
    }


def target_inputs(config: Config) -> dict[str, Tensor]:
    """The inputs of training besides those of the image; boxes in pixels of the molded image.

    At most `RPN_TRAIN_ANCHORS_PER_IMAGE` anchors of an image may be other than neutral in
    `input_rpn_match`, as `build_rpn_targets` makes them; the losses ignore any beyond that.
    """
    shapes: dict[str, tuple[tuple[int | None, ...], str]] = {
        "input_rpn_match": ((None, 1), "int32"),
        "input_rpn_bbox": ((config.RPN_TRAIN_ANCHORS_PER_IMAGE, 4), "float32"),
        "input_gt_class_ids": ((config.MAX_GT_INSTANCES,), "int32"),
        "input_gt_boxes": ((config.MAX_GT_INSTANCES, 4), "float32"),
    }
    if not config.USE_RPN_ROIS:
        shapes["input_rois"] = ((config.POST_NMS_ROIS_TRAINING, 4), "float32")
    return {name: keras.Input(shape, dtype=dtype, name=name)
            for name, (shape, dtype) in shapes.items()}


# --- parts that both graphs share -----------------------------------------------------------------


def pyramid_graph(image: Tensor, config: Config) -> list[Tensor]:
    """Backbone and feature pyramid: image `[B, H, W, C]` → P2, …, P6, each `[B, h, w, depth]`.

    There are as many levels as BACKBONE_STRIDES, but never fewer than P2 to P5, for the head.
    """
    dtype = dtype_policy(config.PRECISION)
    stages = backbone_graph(image, config, dtype)
    train_bn = config.TRAIN_BN if config.PYRAMID_BATCH_NORM else None
    attention = functools.partial(level_attention, num_classes=config.NUM_CLASSES, dtype=dtype)
    return fpn_graph(stages[1:], config.TOP_DOWN_PYRAMID_SIZE, dtype, train_bn,
                     attention if config.PYRAMID_ATTENTION else None,
                     levels=len(config.BACKBONE_STRIDES))


def rpn_levels(pyramid: list[Tensor], config: Config) -> list[Tensor]:
    """The levels that have anchors: P2, …, P6, or as many as BACKBONE_STRIDES has."""
    return pyramid[:len(config.BACKBONE_STRIDES)]


class RPNOutputs(NamedTuple):
    """The RPN's float32 outputs over all anchors, by level, row, column and ratio.

    Attributes:
        logits: `[B, A, 2]`.
        probabilities: `[B, A, 2]`, background and object.
        deltas: `[B, A, 4]`.
        level_logits: the logits of P2, …, P6.
        model: the RPN, which all levels share.
    """

    logits: Tensor
    probabilities: Tensor
    deltas: Tensor
    level_logits: list[Tensor]
    model: keras.Model


def rpn_over_levels(pyramid: list[Tensor], config: Config) -> RPNOutputs:
    """The RPN on each of P2 to P6, and the outputs of all levels concatenated."""
    model = build_rpn_model(config.RPN_ANCHOR_STRIDE, len(config.RPN_ANCHOR_RATIOS),
                            config.TOP_DOWN_PYRAMID_SIZE, dtype_policy(config.PRECISION))
    level_logits, _, level_deltas = (list(levels) for levels in zip(
        *map(model, rpn_levels(pyramid, config))))
    logits = layers.Concatenate(axis=1, dtype="float32", name="rpn_class_logits")(level_logits)
    # Computed from the concatenated logits, so that these have a name in inference too.
    probabilities = layers.Activation("softmax", dtype="float32", name="rpn_class")(logits)
    deltas = layers.Concatenate(axis=1, dtype="float32", name="rpn_bbox")(level_deltas)
    return RPNOutputs(logits, probabilities, deltas, level_logits, model)


def proposals_graph(rpn: RPNOutputs, image: Tensor, pyramid: list[Tensor], count: int,
                    config: Config) -> Tensor:
    """The proposals, `[B, count, 4]` normalized; see `ProposalLayer`."""
    anchors = Anchors.from_settings(config, name="anchors")(
        [image, *rpn_levels(pyramid, config)])
    return ProposalLayer(count, config.RPN_NMS_THRESHOLD, config, name="ROI")(
        [rpn.probabilities, rpn.deltas, anchors],
        levels=rpn.level_logits if config.PROPOSALS_PER_LEVEL else None)


def head_graph(rois: Tensor, suffix: str = "", *, pyramid: list[Tensor],
               config: Config) -> tuple[Tensor, Tensor, Tensor]:
    """The head on P2 to P5: RoIs `[B, N, 4]` → logits, probabilities, deltas.

    The suffix of the layers' names is that of the stage, in a cascade; see `cascade`.
    """
    return fpn_classifier_graph(
        rois, pyramid[:4], None, config.POOL_SIZE, config.NUM_CLASSES, config.TRAIN_BN,
        config.FPN_CLASSIF_FC_LAYERS_SIZE, dtype_policy(config.PRECISION),
        config.ROI_ALIGN_SAMPLES, suffix)
