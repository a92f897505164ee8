"""DetectionLayer: from the head's scores and deltas to the final boxes."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from frcnn.arrays import Array, ArrayLike, FloatArray, Shape, Tensor
from frcnn.config import Config
from frcnn.network import ops as frcnn_ops

# Candidates that go into the last suppression where a RoI has one for each class.
MOST_CANDIDATES = 2000


@keras.saving.register_keras_serializable(package="frcnn")
class DetectionLayer(keras.layers.Layer):
    """Applies the deltas of each RoI's best class, drops low scores, runs NMS within each class.

    Args:
        config: Config whose `DETECTION_*` settings and `BBOX_STD_DEV` replace the arguments
            that follow.
        max_instances: K, rows of the output.
        min_confidence: lowest score that is kept.
        nms_threshold: IoU above which the lower-scored box of a class is dropped.
        bbox_std_dev: what the head's target deltas were divided by, `[4]`.
        all_classes: whether a RoI is a candidate for every class instead of its best.
        soft_nms_sigma: above 0: Soft-NMS, see `frcnn.network.ops.soft_nms`; then scores come out
            as it lowers them.

    Call: `[rois [B, N, 4] normalized, probabilities [B, N, C], deltas [B, N, C, 4], image_meta
    [B, META]]` → float32 `[B, K, 6]`: y1, x1, y2, x2 in float pixels of the molded image, class id,
    score; best first, zero rows after them.
    """

    def __init__(self, config: Config | None = None, *,
                 max_instances: int = Config.DETECTION_MAX_INSTANCES,
                 min_confidence: float = Config.DETECTION_MIN_CONFIDENCE,
                 nms_threshold: float = Config.DETECTION_NMS_THRESHOLD,
                 bbox_std_dev: ArrayLike = Config.BBOX_STD_DEV,
                 all_classes: bool = Config.DETECTION_ALL_CLASSES,
                 soft_nms_sigma: float = Config.DETECTION_SOFT_NMS_SIGMA,
                 **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        if config is not None:
            max_instances, min_confidence, nms_threshold, bbox_std_dev = (
                config.DETECTION_MAX_INSTANCES, config.DETECTION_MIN_CONFIDENCE,
                config.DETECTION_NMS_THRESHOLD, config.BBOX_STD_DEV)
            all_classes = config.DETECTION_ALL_CLASSES
            soft_nms_sigma = config.DETECTION_SOFT_NMS_SIGMA
        self.max_instances, self.min_confidence = int(max_instances), float(min_confidence)
        self.nms_threshold = float(nms_threshold)
        self.bbox_std_dev = np.asarray(bbox_std_dev, float).tolist()
        self.all_classes, self.soft_nms_sigma = bool(all_classes), float(soft_nms_sigma)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        rois, probabilities, deltas, image_meta = inputs
        meta = frcnn_ops.parse_image_meta_graph(image_meta)
        shape = (meta["image_shape"][:, 0:1], meta["image_shape"][:, 1:2])
        window = frcnn_ops.norm_boxes_graph(meta["window"][:, None, :], shape)
        steps = candidate_detections(rois, probabilities, deltas, window, self.min_confidence,
                                     self.bbox_std_dev, self.all_classes)
        boxes, scores, class_ids = self._suppress(steps, probabilities.shape[-1])
        boxes = frcnn_ops.denorm_boxes_exactly(boxes, shape)
        rows = ops.concatenate(
            [boxes, ops.cast(class_ids, "float32")[..., None], scores[..., None]], axis=-1)
        return ops.where(class_ids[..., None] > 0, rows, 0.0)

    def _suppress(self, steps: dict[str, Tensor], num_classes: int) -> tuple[Tensor, ...]:
        """Boxes `[B, K, 4]`, scores `[B, K]` and class ids `[B, K]`, zero where none is left."""
        candidates = (steps["clipped"], steps["kept_scores"], steps["class_ids"])
        if not self.soft_nms_sigma:
            return frcnn_ops.suppress(*candidates[:2], self.nms_threshold, self.max_instances,
                                      candidates[2], num_classes)
        boxes, scores, class_ids = (frcnn_ops.pad_rows(x, self.max_instances) for x in candidates)
        indices, scores = frcnn_ops.soft_nms(boxes, scores, class_ids, self.soft_nms_sigma,
                                             self.min_confidence, self.max_instances)
        is_taken = scores > 0
        return (ops.where(is_taken[..., None], frcnn_ops.take_rows(boxes, indices), 0.0), scores,
                ops.where(is_taken, frcnn_ops.take_rows(class_ids, indices), 0))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (input_shape[0][0], self.max_instances, 6)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "max_instances": self.max_instances,
                "min_confidence": self.min_confidence, "nms_threshold": self.nms_threshold,
                "bbox_std_dev": self.bbox_std_dev, "all_classes": self.all_classes,
                "soft_nms_sigma": self.soft_nms_sigma}


def candidate_detections(rois: Tensor, probabilities: Tensor, deltas: Tensor, window: Tensor,
                         min_confidence: float, bbox_std_dev: ArrayLike,
                         all_classes: bool = False) -> dict[str, Tensor]:
    """The boxes that enter the second NMS, and the intermediate results.

    Args:
        rois: `[B, N, 4]` normalized.
        probabilities: `[B, N, C]`.
        deltas: `[B, N, C, 4]`, divided by `bbox_std_dev`.
        window: `[B, 1, 4]` normalized: the part of the molded image that is not padding.
        min_confidence: lowest score that is kept.
        bbox_std_dev: `[4]`.
        all_classes: False: a candidate for each RoI, of its best class. True: one for each RoI and
            foreground class, of which the `MOST_CANDIDATES` best go on, so that N is their number
            in what follows.

    Returns:
        Dict of `class_ids` int32 `[B, N]`, `scores` `[B, N]`, boxes `[B, N, 4]` `refined` and
        `clipped` to the window, and `kept_scores` `[B, N]`: −inf where a row is background or below
        `min_confidence`.
    """
    if all_classes:
        rois, deltas, class_ids, scores = _one_row_a_class(rois, probabilities, deltas)
    else:
        class_ids = ops.cast(ops.argmax(probabilities, axis=-1), "int32")
        scores = ops.max(probabilities, axis=-1)
        deltas = frcnn_ops.take_of_each(deltas, class_ids)
    deltas = deltas * ops.convert_to_tensor(bbox_std_dev, "float32")
    refined = frcnn_ops.apply_box_deltas_graph(rois, deltas)
    clipped = frcnn_ops.clip_boxes_graph(refined, window)
    is_kept = ops.logical_and(class_ids > 0, scores >= min_confidence)
    return {"class_ids": class_ids, "scores": scores, "refined": refined, "clipped": clipped,
            "kept_scores": ops.where(is_kept, scores, -np.inf)}


def _one_row_a_class(rois: Tensor, probabilities: Tensor,
                     deltas: Tensor) -> tuple[Tensor, ...]:
    """The best pairs of a RoI and a foreground class, as rows.

    Returns:
        rois `[B, K, 4]`, deltas `[B, K, 4]`, class_ids int32 `[B, K]`, scores `[B, K]`.
    """
    count, classes = rois.shape[1], probabilities.shape[-1]
    rows = count * (classes - 1)
    scores = ops.reshape(probabilities[..., 1:], (-1, rows))
    deltas = ops.reshape(deltas[..., 1:, :], (-1, rows, 4))
    scores, indices = ops.top_k(scores, k=min(MOST_CANDIDATES, rows))
    class_ids = ops.cast(indices % (classes - 1) + 1, "int32")
    return (frcnn_ops.take_rows(rois, indices // (classes - 1)),
            frcnn_ops.take_rows(deltas, indices), class_ids, scores)


def detection_steps(rois: ArrayLike, probs: Array, deltas: ArrayLike, window: ArrayLike,
                    config: Config, image_shape: Shape | None = None) -> dict[str, Array]:
    """Every step of the layer `mrcnn_detection` for one image, as NumPy arrays; for inspection.

    Args: as `refine_detections`.

    Returns:
        Dict of `class_ids`, `scores`, `refined`, `clipped`, `kept_scores` as
        `candidate_detections` gives them (without the batch axis), `keep` int32 `[K]`: the rows
        that NMS keeps, best first, and `final_scores` float32 `[K]`: theirs, as Soft-NMS
        lowers them.
    """
    shape = config.IMAGE_SHAPE if image_shape is None else image_shape
    inside = frcnn_ops.norm_boxes_graph(ops.convert_to_tensor(window, "float32"), shape)
    boxes, probabilities, changes = (ops.convert_to_tensor(x, "float32")[None]
                                     for x in (rois, probs, deltas))
    tensors = candidate_detections(boxes, probabilities, changes, inside[None, None],
                                   config.DETECTION_MIN_CONFIDENCE, config.BBOX_STD_DEV,
                                   config.DETECTION_ALL_CLASSES)
    keep, scores = _kept(tensors, config, probs.shape[-1])
    steps = {name: ops.convert_to_numpy(value[0]) for name, value in tensors.items()}
    return {**steps, "keep": keep, "final_scores": scores}


def _kept(tensors: dict[str, Tensor], config: Config, num_classes: int) -> tuple[Array, Array]:
    """Rows `[K]` that suppression leaves of one image's candidates, and their scores."""
    boxes, scores, class_ids = (tensors[name] for name in ("clipped", "kept_scores", "class_ids"))
    if config.DETECTION_SOFT_NMS_SIGMA:
        keep, lowered = frcnn_ops.soft_nms(
            boxes, scores, class_ids, config.DETECTION_SOFT_NMS_SIGMA,
            config.DETECTION_MIN_CONFIDENCE, config.DETECTION_MAX_INSTANCES)
        valid = lowered > 0
    else:
        keep, valid = frcnn_ops.nms_indices(boxes, scores, config.DETECTION_NMS_THRESHOLD,
                                            config.DETECTION_MAX_INSTANCES, class_ids, num_classes)
        lowered = frcnn_ops.take_rows(scores, keep)
    keep, valid, lowered = (ops.convert_to_numpy(x[0]) for x in (keep, valid, lowered))
    return keep[valid], lowered[valid]


def refine_detections(rois: ArrayLike, probs: Array, deltas: ArrayLike, window: ArrayLike,
                      config: Config, image_shape: Shape | None = None) -> FloatArray:
    """The final detections of one image, as a NumPy array.

    Args:
        rois: `[N, 4]` normalized.
        probs: `[N, C]`.
        deltas: `[N, C, 4]` divided by `BBOX_STD_DEV`.
        window: `[4]`, pixels of the molded image: its part that is not padding.
        config: Config; `BBOX_STD_DEV` and the `DETECTION_*` settings are read.
        image_shape: of the molded image; default `config.IMAGE_SHAPE`.

    Returns:
        float32 `[K, 6]`: y1, x1, y2, x2 in float pixels of the molded image, class id, score; best
        first.
    """
    steps = detection_steps(rois, probs, deltas, window, config, image_shape)
    shape = config.IMAGE_SHAPE if image_shape is None else image_shape
    keep = steps["keep"]
    boxes = ops.convert_to_numpy(frcnn_ops.denorm_boxes_exactly(
        ops.convert_to_tensor(steps["clipped"][keep]), shape))
    columns = (boxes, steps["class_ids"][keep, None], steps["final_scores"][:, None])
    return np.concatenate(columns, axis=1).astype(np.float32)
