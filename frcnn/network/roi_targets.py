"""DetectionTargetLayer: which proposals train the head, and towards what."""

import keras
from keras import ops

from frcnn.data.targets import CROWD_IOU, ROI_POSITIVE_IOU
from frcnn.network import ops as frcnn_ops


class DetectionTargetLayer(keras.layers.Layer):
    """Samples proposals for the head and gives each its class and deltas.

    Args:
        config: Config; `TRAIN_ROIS_PER_IMAGE` (T), `ROI_POSITIVE_RATIO`, `BBOX_STD_DEV` and
            `PROPOSAL_APPEND_GT`.
        seed: of the sampling.

    Call: `[proposals [B, N, 4], gt_class_ids int [B, M], gt_boxes [B, M, 4]]`, boxes normalized,
    zero rows are padding, negative class ids are crowds → rois `[B, T, 4]` normalized, class_ids
    int32 `[B, T]`, deltas `[B, T, 4]` divided by the std-dev. Positives first, then negatives,
    then zero rows.
    """

    def __init__(self, config, seed=None, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.config = config
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs):
        return detection_targets_graph(*inputs, self.config, seed=self.seed_generator)

    def compute_output_shape(self, input_shape):
        batch, count = input_shape[0][0], self.config.TRAIN_ROIS_PER_IMAGE
        return (batch, count, 4), (batch, count), (batch, count, 4)

    def compute_output_spec(self, inputs):
        rois, class_ids, deltas = self.compute_output_shape([x.shape for x in inputs])
        return (keras.KerasTensor(rois, "float32"), keras.KerasTensor(class_ids, "int32"),
                keras.KerasTensor(deltas, "float32"))


def detection_targets_graph(proposals, gt_class_ids, gt_boxes, config, seed=None):
    """Targets of a batch; see DetectionTargetLayer for shapes.

    Positive: IoU of 0.5 or more with an object. Negative: below that, and clear of crowds. At most
    `int(T · ROI_POSITIVE_RATIO)` positives, drawn at random; with P of them, `int(P / ratio) − P`
    negatives. Better than the reference on purpose: an image without a positive still gives
    `T − int(T · ratio)` negatives. With `PROPOSAL_APPEND_GT` the objects' own boxes are among the
    proposals, as in torchvision and Detectron2.

    Without a batch axis (`[N, 4], [M], [M, 4]`) the results have none either.
    """
    if len(proposals.shape) == 2:
        inputs = (ops.convert_to_tensor(x)[None] for x in (proposals, gt_class_ids, gt_boxes))
        return tuple(x[0] for x in detection_targets_graph(*inputs, config, seed=seed))

    count, ratio = config.TRAIN_ROIS_PER_IMAGE, config.ROI_POSITIVE_RATIO
    proposals = ops.cast(proposals, "float32")
    gt_boxes, gt_class_ids = ops.cast(gt_boxes, "float32"), ops.cast(gt_class_ids, "int32")
    if config.PROPOSAL_APPEND_GT:
        objects = ops.where(gt_class_ids[..., None] > 0, gt_boxes, 0.0)
        proposals = ops.concatenate([proposals, objects], axis=1)
    proposals = frcnn_ops.pad_rows(proposals, count)
    positive, negative, overlaps = _label(proposals, gt_class_ids, gt_boxes)

    most_positives = int(count * ratio)
    positives = ops.minimum(_count(positive), most_positives)
    wanted = ops.cast(ops.cast(positives, "float32") * (1.0 / ratio), "int32") - positives
    wanted = ops.where(positives > 0, wanted, count - most_positives)
    negatives = ops.minimum(ops.minimum(_count(negative), wanted), count - positives)

    indices = _draw(positive, negative, positives, count, seed)
    slot = ops.arange(count)[None, :]
    is_positive = slot < positives
    is_used = slot < positives + negatives

    rois = ops.where(is_used[..., None], frcnn_ops.take_rows(proposals, indices), 0.0)
    match = frcnn_ops.take_rows(ops.cast(ops.argmax(overlaps, axis=2), "int32"), indices)
    class_ids = ops.where(is_positive, frcnn_ops.take_rows(gt_class_ids, match), 0)
    deltas = _deltas(rois, frcnn_ops.take_rows(gt_boxes, match), is_positive, config)
    return tuple(ops.stop_gradient(x) for x in (rois, class_ids, deltas))


def _label(proposals, gt_class_ids, gt_boxes):
    """positive and negative bool `[B, N]`, and the IoU with objects `[B, N, M]`."""
    is_box = ops.any(ops.not_equal(gt_boxes, 0.0), axis=2)
    is_object = ops.logical_and(is_box, gt_class_ids > 0)[:, None, :]
    is_crowd = ops.logical_and(is_box, gt_class_ids < 0)[:, None, :]
    overlaps = frcnn_ops.overlaps_graph(proposals, gt_boxes)
    crowd = ops.max(ops.where(is_crowd, overlaps, 0.0), axis=2)
    overlaps = ops.where(is_object, overlaps, 0.0)
    best = ops.max(overlaps, axis=2)

    is_proposal = ops.any(ops.not_equal(proposals, 0.0), axis=2)
    positive = ops.logical_and(is_proposal, best >= ROI_POSITIVE_IOU)
    negative = ops.logical_and(is_proposal, best < ROI_POSITIVE_IOU)
    return positive, ops.logical_and(negative, crowd < CROWD_IOU), overlaps


def _count(mask):
    return ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True)


def _draw(positive, negative, positives, count, seed):
    """Row indices `[B, count]`: `positives` random positives first, then random negatives."""
    lot = keras.random.uniform(ops.shape(positive), seed=seed)
    _, drawn_positives = ops.top_k(ops.where(positive, lot, -1.0), k=count)
    _, drawn_negatives = ops.top_k(ops.where(negative, lot, -1.0), k=count)
    slot = ops.broadcast_to(ops.arange(count)[None, :], ops.shape(drawn_positives))
    shifted = frcnn_ops.take_rows(drawn_negatives, ops.maximum(slot - positives, 0))
    return ops.where(slot < positives, drawn_positives, shifted)


def _deltas(rois, boxes, is_positive, config):
    # Rows that are not positive would divide by zero: give them a harmless pair.
    unit = ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0])
    mask = is_positive[..., None]
    deltas = frcnn_ops.box_refinement_graph(
        ops.where(mask, rois, unit), ops.where(mask, boxes, unit))
    return deltas / ops.convert_to_tensor(config.BBOX_STD_DEV, "float32")
