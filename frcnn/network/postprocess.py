"""DetectionLayer: from the head's scores and deltas to the final boxes."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from frcnn.arrays import Array, ArrayLike, FloatArray, Shape, Tensor
from frcnn.config import Config
from frcnn.network import ops as frcnn_ops


@keras.saving.register_keras_serializable(package="frcnn")
class DetectionLayer(keras.layers.Layer):
    """Applies the deltas of each RoI's best class, drops low scores, runs NMS within each class.

    Args:
        config: Config whose `DETECTION_*` settings and `BBOX_STD_DEV` replace the next four
            arguments.
        max_instances: K, rows of the output.
        min_confidence: lowest score that is kept.
        nms_threshold: IoU above which the lower-scored box of a class is dropped.
        bbox_std_dev: what the head's target deltas were divided by, `[4]`.

    Call: `[rois [B, N, 4] normalized, probabilities [B, N, C], deltas [B, N, C, 4], image_meta
    [B, META]]` → float32 `[B, K, 6]`: y1, x1, y2, x2 in float pixels of the molded image, class id,
    score; best first, zero rows after them.
    """

    def __init__(self, config: Config | None = None, *,
                 max_instances: int = Config.DETECTION_MAX_INSTANCES,
                 min_confidence: float = Config.DETECTION_MIN_CONFIDENCE,
                 nms_threshold: float = Config.DETECTION_NMS_THRESHOLD,
                 bbox_std_dev: ArrayLike = Config.BBOX_STD_DEV,
                 **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        if config is not None:
            max_instances, min_confidence, nms_threshold, bbox_std_dev = (
                config.DETECTION_MAX_INSTANCES, config.DETECTION_MIN_CONFIDENCE,
                config.DETECTION_NMS_THRESHOLD, config.BBOX_STD_DEV)
        self.max_instances, self.min_confidence = int(max_instances), float(min_confidence)
        self.nms_threshold = float(nms_threshold)
        self.bbox_std_dev = np.asarray(bbox_std_dev, float).tolist()

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        rois, probabilities, deltas, image_meta = inputs
        meta = frcnn_ops.parse_image_meta_graph(image_meta)
        shape = (meta["image_shape"][:, 0:1], meta["image_shape"][:, 1:2])
        window = frcnn_ops.norm_boxes_graph(meta["window"][:, None, :], shape)
        steps = candidate_detections(rois, probabilities, deltas, window, self.min_confidence,
                                     self.bbox_std_dev)
        boxes, scores, class_ids = frcnn_ops.suppress(
            steps["clipped"], steps["kept_scores"], self.nms_threshold, self.max_instances,
            steps["class_ids"], probabilities.shape[-1])
        boxes = frcnn_ops.denorm_boxes_exactly(boxes, shape)
        rows = ops.concatenate(
            [boxes, ops.cast(class_ids, "float32")[..., None], scores[..., None]], axis=-1)
        return ops.where(class_ids[..., None] > 0, rows, 0.0)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (input_shape[0][0], self.max_instances, 6)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "max_instances": self.max_instances,
                "min_confidence": self.min_confidence, "nms_threshold": self.nms_threshold,
                "bbox_std_dev": self.bbox_std_dev}


def candidate_detections(rois: Tensor, probabilities: Tensor, deltas: Tensor, window: Tensor,
                         min_confidence: float, bbox_std_dev: ArrayLike) -> dict[str, Tensor]:
    """The boxes that enter the second NMS, and the intermediate results.

    Args:
        rois: `[B, N, 4]` normalized.
        probabilities: `[B, N, C]`.
        deltas: `[B, N, C, 4]`, divided by `bbox_std_dev`.
        window: `[B, 1, 4]` normalized: the part of the molded image that is not padding.
        min_confidence: lowest score that is kept.
        bbox_std_dev: `[4]`.

    Returns:
        Dict of `class_ids` int32 `[B, N]` (arg-max), `scores` `[B, N]`, boxes `[B, N, 4]`
        `refined` and `clipped` to the window, and `kept_scores` `[B, N]`: −inf where a row is
        background or below `min_confidence`.
    """
    class_ids = ops.cast(ops.argmax(probabilities, axis=-1), "int32")
    scores = ops.max(probabilities, axis=-1)
    chosen = frcnn_ops.take_of_each(deltas, class_ids)
    chosen = chosen * ops.convert_to_tensor(bbox_std_dev, "float32")
    refined = frcnn_ops.apply_box_deltas_graph(rois, chosen)
    clipped = frcnn_ops.clip_boxes_graph(refined, window)
    is_kept = ops.logical_and(class_ids > 0, scores >= min_confidence)
    return {"class_ids": class_ids, "scores": scores, "refined": refined, "clipped": clipped,
            "kept_scores": ops.where(is_kept, scores, -np.inf)}


def detection_steps(rois: ArrayLike, probs: Array, deltas: ArrayLike, window: ArrayLike,
                    config: Config, image_shape: Shape | None = None) -> dict[str, Array]:
    """Every step of the layer `mrcnn_detection` for one image, as NumPy arrays; for inspection.

    Args: as `refine_detections`.

    Returns:
        Dict of `class_ids`, `scores`, `refined`, `clipped`, `kept_scores` as
        `candidate_detections` gives them (without the batch axis), and `keep` int32 `[K]`: the
        rows that NMS keeps, best first.
    """
    shape = config.IMAGE_SHAPE if image_shape is None else image_shape
    inside = frcnn_ops.norm_boxes_graph(ops.convert_to_tensor(window, "float32"), shape)
    boxes, probabilities, changes = (ops.convert_to_tensor(x, "float32")[None]
                                     for x in (rois, probs, deltas))
    tensors = candidate_detections(boxes, probabilities, changes, inside[None, None],
                                   config.DETECTION_MIN_CONFIDENCE, config.BBOX_STD_DEV)
    keep, valid = frcnn_ops.nms_indices(
        tensors["clipped"], tensors["kept_scores"], config.DETECTION_NMS_THRESHOLD,
        config.DETECTION_MAX_INSTANCES, tensors["class_ids"], probs.shape[-1])
    steps = {name: ops.convert_to_numpy(value[0]) for name, value in tensors.items()}
    steps["keep"] = ops.convert_to_numpy(keep[0])[ops.convert_to_numpy(valid[0])]
    return steps


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
    columns = (boxes, steps["class_ids"][keep, None], steps["scores"][keep, None])
    return np.concatenate(columns, axis=1).astype(np.float32)
