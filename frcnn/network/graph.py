"""The detector as a Keras model: the parts put together, and the losses for `fit`."""

import keras
from keras import layers, ops

from frcnn.config import LOSS_NAMES
from frcnn.network import losses
from frcnn.network import ops as frcnn_ops
from frcnn.network.backbone import backbone_graph
from frcnn.network.fpn import fpn_graph
from frcnn.network.postprocess import DetectionLayer, parse_image_meta_graph
from frcnn.network.precision import dtype_policy
from frcnn.network.proposals import ProposalLayer
from frcnn.network.roi_head import fpn_classifier_graph
from frcnn.network.roi_targets import DetectionTargetLayer
from frcnn.network.rpn import Anchors, build_rpn_model
from frcnn.network.sampled_rpn import SampledRPN


class Detector(keras.Model):
    """A functional model that picks its kernels when traced, and knows the detector's losses.

    Args:
        inputs, outputs: as of `keras.Model`; the training graph's outputs are a dict.
        config: Config, for the weights of the losses.
    """

    def __init__(self, inputs, outputs, config, **kwargs):
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)
        self.config = config
        self.loss_means = [keras.metrics.Mean(name=name) for name in LOSS_NAMES]

    def call(self, inputs, training=None, mask=None):
        """Outputs of the graph for its inputs; `training_graph`, `inference_graph` name them."""
        with frcnn_ops.portable_kernels(bool(self.jit_compile)):
            return super().call(inputs, training=training, mask=mask)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The weighted sum of the four losses, and regularization; `y` is not used."""
        values = self.loss_values(x, y_pred)
        for mean, name in zip(self.loss_means, LOSS_NAMES):
            mean.update_state(values[name])
        weights = self.config.LOSS_WEIGHTS
        total = sum(weights.get(name, 1.0) * value for name, value in values.items())
        penalty = self.regularization()
        if optimizer_adds_decay(getattr(self, "optimizer", None)):
            penalty = ops.stop_gradient(penalty)  # reported, but not trained twice
        return total + penalty

    def regularization(self):
        """The L2 penalty of the trained weights, a scalar."""
        return losses.l2_penalty(self.trainable_variables, self.config.WEIGHT_DECAY)

    def loss_values(self, x, y_pred):
        """The four losses of one batch, by name."""
        match = y_pred["rpn_sampled_match"]
        active = parse_image_meta_graph(x["input_image_meta"])["active_class_ids"]
        class_ids = y_pred["target_class_ids"]
        return {
            "rpn_class_loss": losses.rpn_class_loss_graph(
                match, y_pred["rpn_sampled_logits"]),
            "rpn_bbox_loss": losses.rpn_bbox_loss_graph(
                self.config, x["input_rpn_bbox"], match, y_pred["rpn_sampled_bbox"]),
            "mrcnn_class_loss": losses.mrcnn_class_loss_graph(
                class_ids, y_pred["mrcnn_class_logits"], active, self.config.LABEL_SMOOTHING),
            "mrcnn_bbox_loss": losses.mrcnn_bbox_loss_graph(
                y_pred["target_bbox"], class_ids, y_pred["mrcnn_bbox"]),
        }


def optimizer_adds_decay(optimizer):
    """Whether the optimizer adds the gradient of the L2 penalty itself: its `adds_decay`."""
    return getattr(getattr(optimizer, "inner_optimizer", optimizer), "adds_decay", False)


def build_detector(mode, config, seed=None):
    """Builds the detector.

    Args:
        mode: "training" or "inference".
        config: Config.
        seed: of the RoI sampling in training.

    Returns:
        Detector. Inputs and outputs are named in `training_graph` and `inference_graph`.
    """
    if mode == "training":
        return training_graph(config, seed)
    if mode == "inference":
        return inference_graph(config)
    raise ValueError(f'mode is {mode!r}; allowed are "training" and "inference".')


def image_inputs(config, training):
    """`input_image` `[B, H, W, C]`, molded, and `input_image_meta` `[B, META]`.

    H and W are fixed where all images have one shape; "crop" cuts in training only.
    """
    square = config.IMAGE_RESIZE_MODE in (("square", "crop") if training else ("square",))
    sides = config.IMAGE_SHAPE[:2].tolist() if square else (None, None)
    return {
        "input_image": keras.Input((*sides, config.IMAGE_CHANNEL_COUNT), name="input_image"),
        "input_image_meta": keras.Input((config.IMAGE_META_SIZE,), name="input_image_meta"),
    }


def target_inputs(config):
    """What training feeds besides the image; boxes in pixels.

    Of an image at most `RPN_TRAIN_ANCHORS_PER_IMAGE` anchors of `input_rpn_match` may be other than
    neutral, as `build_rpn_targets` makes them; the losses leave out any beyond that.
    """
    shapes = {
        "input_rpn_match": ((None, 1), "int32"),
        "input_rpn_bbox": ((config.RPN_TRAIN_ANCHORS_PER_IMAGE, 4), "float32"),
        "input_gt_class_ids": ((config.MAX_GT_INSTANCES,), "int32"),
        "input_gt_boxes": ((config.MAX_GT_INSTANCES, 4), "float32"),
    }
    if not config.USE_RPN_ROIS:
        shapes["input_rois"] = ((config.POST_NMS_ROIS_TRAINING, 4), "float32")
    return {name: keras.Input(shape, dtype=dtype, name=name)
            for name, (shape, dtype) in shapes.items()}


def pyramid_and_rpn(image, config, dtype):
    """From the image to P2…P6, the RPN's three outputs over all levels, anchors, and the RPN."""
    stages = backbone_graph(image, config, dtype)
    pyramid = fpn_graph(stages[1:], config.TOP_DOWN_PYRAMID_SIZE, dtype)
    rpn = build_rpn_model(config.RPN_ANCHOR_STRIDE, len(config.RPN_ANCHOR_RATIOS),
                          config.TOP_DOWN_PYRAMID_SIZE, dtype)
    by_level = zip(*(rpn(level) for level in pyramid))
    logits, _, deltas = (list(levels) for levels in by_level)
    logits = layers.Concatenate(axis=1, dtype="float32", name="rpn_class_logits")(logits)
    outputs = {
        "rpn_class_logits": logits,
        # From the logits of all levels, which so stay within reach in inference too.
        "rpn_class": layers.Activation("softmax", dtype="float32", name="rpn_class")(logits),
        "rpn_bbox": layers.Concatenate(axis=1, dtype="float32", name="rpn_bbox")(deltas),
    }
    anchors = Anchors(config, name="anchors")([image, *pyramid])
    return pyramid, outputs, anchors, rpn


def training_graph(config, seed=None):
    """The training model: inputs of `image_inputs` and `target_inputs`, outputs by name.

    The RPN's losses read `rpn_sampled_match`, `rpn_sampled_logits` and `rpn_sampled_bbox`; the
    outputs over all anchors only propose, and get no gradient.
    """
    dtype = dtype_policy(config.PRECISION)
    inputs = {**image_inputs(config, True), **target_inputs(config)}
    image = inputs["input_image"]
    pyramid, rpn, anchors, rpn_model = pyramid_and_rpn(image, config, dtype)
    gt_boxes = NormBoxes(name="gt_boxes")([inputs["input_gt_boxes"], image])
    if config.USE_RPN_ROIS:
        proposals = ProposalLayer(
            config.POST_NMS_ROIS_TRAINING, config.RPN_NMS_THRESHOLD, config, name="ROI",
        )([rpn["rpn_class"], rpn["rpn_bbox"], anchors])
    else:
        proposals = NormBoxes(name="ROI")([inputs["input_rois"], image])

    rois, class_ids, deltas = DetectionTargetLayer(config, seed, name="proposal_targets")(
        [proposals, inputs["input_gt_class_ids"], gt_boxes])
    logits, probabilities, bbox = _head(rois, pyramid, config, dtype)
    outputs = {**rpn, **_sampled(rpn_model, inputs, pyramid, config), "rpn_rois": proposals,
               "output_rois": rois, "target_class_ids": class_ids, "target_bbox": deltas,
               "mrcnn_class_logits": logits, "mrcnn_class": probabilities, "mrcnn_bbox": bbox}
    return Detector(inputs, outputs, config, name="mask_rcnn")


def inference_graph(config):
    """The detection model: `input_image`, `input_image_meta` → detections, `mrcnn_class`,
    `mrcnn_bbox`, proposals, `rpn_class`, `rpn_bbox`."""
    dtype = dtype_policy(config.PRECISION)
    inputs = image_inputs(config, False)
    pyramid, rpn, anchors, _ = pyramid_and_rpn(inputs["input_image"], config, dtype)
    rois = ProposalLayer(
        config.POST_NMS_ROIS_INFERENCE, config.RPN_NMS_THRESHOLD, config, name="ROI",
    )([rpn["rpn_class"], rpn["rpn_bbox"], anchors])
    _, probabilities, bbox = _head(rois, pyramid, config, dtype)
    detections = DetectionLayer(config, name="mrcnn_detection")(
        [rois, probabilities, bbox, inputs["input_image_meta"]])
    outputs = [detections, probabilities, bbox, rois, rpn["rpn_class"], rpn["rpn_bbox"]]
    return Detector(list(inputs.values()), outputs, config, name="mask_rcnn")


def _sampled(rpn_model, inputs, pyramid, config):
    """What the RPN's losses count, by name."""
    names = ("rpn_sampled_match", "rpn_sampled_logits", "rpn_sampled_bbox")
    return dict(zip(names, SampledRPN(
        rpn_model, len(config.RPN_ANCHOR_RATIOS), config.RPN_ANCHOR_STRIDE,
        config.RPN_TRAIN_ANCHORS_PER_IMAGE, name="rpn_sampled",
    )([inputs["input_rpn_match"], *pyramid])))


def _head(rois, pyramid, config, dtype):
    return fpn_classifier_graph(
        rois, pyramid[:4], None, config.POOL_SIZE, config.NUM_CLASSES, config.TRAIN_BN,
        config.FPN_CLASSIF_FC_LAYERS_SIZE, dtype)


class NormBoxes(layers.Layer):
    """`[boxes [B, N, 4] in pixels, image [B, H, W, C]]` → normalized boxes; zero rows stay zero."""

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, inputs):
        boxes, image = inputs
        is_box = ops.any(ops.not_equal(boxes, 0), axis=-1, keepdims=True)
        return ops.where(is_box, frcnn_ops.norm_boxes_graph(boxes, ops.shape(image)[1:3]), 0.0)

    def compute_output_shape(self, input_shape):
        return input_shape[0]
