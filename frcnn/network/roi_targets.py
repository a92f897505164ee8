"""DetectionTargetLayer: which proposals train the head, and their targets."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from frcnn.arrays import ArrayLike, Tensor
from frcnn.compatibility import refused_masks
from frcnn.config import Config
from frcnn.data.targets import CROWD_IOU, ROI_POSITIVE_IOU
from frcnn.network import ops as frcnn_ops


@keras.saving.register_keras_serializable(package="frcnn")
class DetectionTargetLayer(keras.layers.Layer):
    """Samples proposals for the head and assigns each its class and deltas.

    Args:
        config: Config whose `TRAIN_ROIS_PER_IMAGE`, `ROI_POSITIVE_RATIO`, `BBOX_STD_DEV` and
            `PROPOSAL_APPEND_GT` and `ROI_FILL_NEGATIVES` replace the arguments after `seed`.
        seed: of the sampling; None draws one.
        rois_per_image: T, rows of the output, zero-padded.
        positive_ratio: largest share of positives among them.
        bbox_std_dev: what the deltas are divided by, `[4]`.
        append_gt: whether the ground-truth boxes of objects are added to the proposals.
        fill_negatives: whether negatives fill all rows that the positives leave.

    Call: `[proposals [B, N, 4], gt_class_ids int [B, M], gt_boxes [B, M, 4]]`, boxes normalized,
    zero rows are padding, negative class ids are crowds → rois `[B, T, 4]` normalized, class_ids
    int32 `[B, T]` (0 for negatives), deltas `[B, T, 4]` divided by `bbox_std_dev` (zeros for
    negatives). Positives first, then negatives, then zero rows. `detection_targets_graph` has the
    rules.
    """

    def __init__(self, config: Config | None = None, seed: int | None = None, *,
                 rois_per_image: int = Config.TRAIN_ROIS_PER_IMAGE,
                 positive_ratio: float = Config.ROI_POSITIVE_RATIO,
                 bbox_std_dev: ArrayLike = Config.BBOX_STD_DEV,
                 append_gt: bool = Config.PROPOSAL_APPEND_GT,
                 fill_negatives: bool = Config.ROI_FILL_NEGATIVES, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        if config is not None:
            rois_per_image, positive_ratio, bbox_std_dev, append_gt, fill_negatives = \
                _settings(config)
        self.rois_per_image, self.positive_ratio = int(rois_per_image), float(positive_ratio)
        self.bbox_std_dev = np.asarray(bbox_std_dev, float).tolist()
        self.append_gt, self.fill_negatives = bool(append_gt), bool(fill_negatives)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed, name="seed_generator")

    def call(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        proposals, gt_class_ids, gt_boxes = inputs
        return _targets(proposals, gt_class_ids, gt_boxes, self.rois_per_image,
                        self.positive_ratio, self.bbox_std_dev, self.append_gt,
                        self.fill_negatives, self.seed_generator)

    def compute_output_shape(self, input_shape: Any) -> tuple[tuple[int | None, ...], ...]:
        batch, count = input_shape[0][0], self.rois_per_image
        return (batch, count, 4), (batch, count), (batch, count, 4)

    def compute_output_spec(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        rois, class_ids, deltas = self.compute_output_shape([x.shape for x in inputs])
        return (keras.KerasTensor(rois, "float32"), keras.KerasTensor(class_ids, "int32"),
                keras.KerasTensor(deltas, "float32"))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed, "rois_per_image": self.rois_per_image,
                "positive_ratio": self.positive_ratio, "bbox_std_dev": self.bbox_std_dev,
                "append_gt": self.append_gt, "fill_negatives": self.fill_negatives}

    def save_own_variables(self, store: Any) -> None:
        """Stores the state of the sampling, so that a loaded model draws what this one would."""
        store["seed_state"] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store: Any) -> None:
        self.seed_generator.state.assign(store["seed_state"])


@refused_masks(3, "rois, class_ids, deltas = detection_targets_graph(proposals, gt_class_ids, "
                  "gt_boxes, config)")
def detection_targets_graph(proposals: Tensor, gt_class_ids: Tensor, gt_boxes: Tensor,
                            config: Config, seed: Any = None) -> tuple[Tensor, ...]:
    """Targets of a batch; see DetectionTargetLayer for shapes.

    Positive: IoU of 0.5 or more with an object. Negative: below that, and IoU below 0.001 with
    every crowd region. At most `int(T · ROI_POSITIVE_RATIO)` positives are drawn at random, and
    with P of them at most `int(P / ratio) − P` negatives. Unlike in the reference, an image without
    a positive still gives up to `T − int(T · ratio)` negatives. With `ROI_FILL_NEGATIVES` negatives
    take all `T − P` rows, and with `PROPOSAL_APPEND_GT` the ground-truth boxes are added to the
    proposals, both as in torchvision and Detectron2.

    Args:
        proposals, gt_class_ids, gt_boxes: as of DetectionTargetLayer's call. Without a batch axis
            (`[N, 4], [M], [M, 4]`) the results have none either.
        config: Config; the settings that DetectionTargetLayer names are read.
        seed: an integer or a `keras.random.SeedGenerator`; None draws one.

    Returns:
        rois, class_ids, deltas.
    """
    if len(proposals.shape) == 2:
        proposals, gt_class_ids, gt_boxes = (
            ops.convert_to_tensor(x)[None] for x in (proposals, gt_class_ids, gt_boxes))
        return tuple(x[0] for x in detection_targets_graph(
            proposals, gt_class_ids, gt_boxes, config, seed))
    return _targets(proposals, gt_class_ids, gt_boxes, *_settings(config), seed)


def _settings(config: Config) -> tuple[int, float, ArrayLike, bool, bool]:
    return (config.TRAIN_ROIS_PER_IMAGE, config.ROI_POSITIVE_RATIO, config.BBOX_STD_DEV,
            config.PROPOSAL_APPEND_GT, config.ROI_FILL_NEGATIVES)


def _targets(proposals: Tensor, gt_class_ids: Tensor, gt_boxes: Tensor, count: int, ratio: float,
             bbox_std_dev: ArrayLike, append_gt: bool, fill_negatives: bool,
             seed: Any) -> tuple[Tensor, ...]:
    proposals = ops.cast(proposals, "float32")
    gt_boxes, gt_class_ids = ops.cast(gt_boxes, "float32"), ops.cast(gt_class_ids, "int32")
    if append_gt:
        objects = ops.where(gt_class_ids[..., None] > 0, gt_boxes, 0.0)
        proposals = ops.concatenate([proposals, objects], axis=1)
    proposals = frcnn_ops.pad_rows(proposals, count)
    positive, negative, overlaps = label_proposals(proposals, gt_class_ids, gt_boxes)

    most_positives = int(count * ratio)
    positives = ops.minimum(_count(positive), most_positives)
    wanted = ops.cast(ops.cast(positives, "float32") * (1.0 / ratio), "int32") - positives
    wanted = ops.where(positives > 0, wanted, count - most_positives)
    if fill_negatives:
        wanted = count - positives
    negatives = ops.minimum(ops.minimum(_count(negative), wanted), count - positives)

    indices = _draw(positive, negative, positives, count, seed)
    slot = ops.arange(count)[None, :]
    is_positive = slot < positives
    is_used = slot < positives + negatives

    rois = ops.where(is_used[..., None], frcnn_ops.take_rows(proposals, indices), 0.0)
    match = frcnn_ops.take_rows(ops.cast(ops.argmax(overlaps, axis=2), "int32"), indices)
    class_ids = ops.where(is_positive, frcnn_ops.take_rows(gt_class_ids, match), 0)
    deltas = target_deltas(rois, frcnn_ops.take_rows(gt_boxes, match), is_positive, bbox_std_dev)
    return tuple(ops.stop_gradient(x) for x in (rois, class_ids, deltas))


def label_proposals(proposals: Tensor, gt_class_ids: Tensor, gt_boxes: Tensor,
                    iou: float = ROI_POSITIVE_IOU) -> tuple[Tensor, Tensor, Tensor]:
    """positive and negative bool `[B, N]` at a threshold, and the IoU with objects `[B, N, M]`."""
    is_box = ops.any(ops.not_equal(gt_boxes, 0.0), axis=2)
    is_object = ops.logical_and(is_box, gt_class_ids > 0)[:, None, :]
    is_crowd = ops.logical_and(is_box, gt_class_ids < 0)[:, None, :]
    overlaps = frcnn_ops.overlaps_graph(proposals, gt_boxes)
    crowd = ops.max(ops.where(is_crowd, overlaps, 0.0), axis=2)
    overlaps = ops.where(is_object, overlaps, 0.0)
    best = ops.max(overlaps, axis=2)

    is_proposal = ops.any(ops.not_equal(proposals, 0.0), axis=2)
    positive = ops.logical_and(is_proposal, best >= iou)
    negative = ops.logical_and(is_proposal, best < iou)
    return positive, ops.logical_and(negative, crowd < CROWD_IOU), overlaps


def _count(mask: Tensor) -> Tensor:
    return ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True)


def _draw(positive: Tensor, negative: Tensor, positives: Tensor, count: int, seed: Any) -> Tensor:
    """Row indices `[B, count]`: `positives` random positives first, then random negatives."""
    lot = keras.random.uniform(ops.shape(positive), seed=seed)
    _, drawn_positives = frcnn_ops.top_k(ops.where(positive, lot, -1.0), k=count)
    _, drawn_negatives = frcnn_ops.top_k(ops.where(negative, lot, -1.0), k=count)
    slot = ops.broadcast_to(ops.arange(count)[None, :], ops.shape(drawn_positives))
    shifted = frcnn_ops.take_rows(drawn_negatives, ops.maximum(slot - positives, 0))
    return ops.where(slot < positives, drawn_positives, shifted)


def target_deltas(rois: Tensor, boxes: Tensor, is_positive: Tensor,
                  bbox_std_dev: ArrayLike) -> Tensor:
    """The deltas `[B, T, 4]` from RoIs to their objects' boxes; zeros where not positive."""
    # Rows that are not positive would divide by zero: they are replaced by a unit box.
    unit = ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0])
    mask = is_positive[..., None]
    deltas = frcnn_ops.box_refinement_graph(
        ops.where(mask, rois, unit), ops.where(mask, boxes, unit))
    return deltas / ops.convert_to_tensor(bbox_std_dev, "float32")
