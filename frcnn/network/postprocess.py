"""DetectionLayer: from the head's scores and deltas to the final boxes."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from frcnn.arrays import Array, ArrayLike, FloatArray, IntArray, Shape, Tensor
from frcnn.config import Config
from frcnn.errors import ArgumentError
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
        box_voting: above 0: the IoU of `vote_boxes`, which then averages the boxes.

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
                 box_voting: float = Config.DETECTION_BOX_VOTING,
                 **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        if config is not None:
            max_instances, min_confidence, nms_threshold, bbox_std_dev = (
                config.DETECTION_MAX_INSTANCES, lowest_score(config),
                config.DETECTION_NMS_THRESHOLD, config.BBOX_STD_DEV)
            all_classes = config.DETECTION_ALL_CLASSES
            soft_nms_sigma = config.DETECTION_SOFT_NMS_SIGMA
            box_voting = config.DETECTION_BOX_VOTING
        self.max_instances, self.min_confidence = int(max_instances), float(min_confidence)
        self.nms_threshold = float(nms_threshold)
        self.bbox_std_dev = np.asarray(bbox_std_dev, float).tolist()
        self.all_classes, self.soft_nms_sigma = bool(all_classes), float(soft_nms_sigma)
        self.box_voting = float(box_voting)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        rois, probabilities, deltas, image_meta = inputs
        meta = frcnn_ops.parse_image_meta_graph(image_meta)
        shape = (meta["image_shape"][:, 0:1], meta["image_shape"][:, 1:2])
        window = frcnn_ops.norm_boxes_graph(meta["window"][:, None, :], shape)
        boxes, scores, class_ids = self.normalized(rois, probabilities, deltas, window)
        boxes = frcnn_ops.denorm_boxes_exactly(boxes, shape)
        rows = ops.concatenate(
            [boxes, ops.cast(class_ids, "float32")[..., None], scores[..., None]], axis=-1)
        return ops.where(class_ids[..., None] > 0, rows, 0.0)

    def normalized(self, rois: Tensor, probabilities: Tensor, deltas: Tensor,
                   window: Tensor) -> tuple[Tensor, ...]:
        """The detections before they are in pixels.

        Args: as of `call`, and `window` `[B, 1, 4]` normalized.

        Returns:
            boxes `[B, K, 4]` normalized, scores `[B, K]`, class_ids int32 `[B, K]`, 0 for padding.
        """
        steps = candidate_detections(rois, probabilities, deltas, window, self.min_confidence,
                                     self.bbox_std_dev, self.all_classes)
        boxes, scores, class_ids = self._suppress(steps, probabilities.shape[-1])
        if self.box_voting:
            boxes = vote_boxes(boxes, class_ids, steps, self.box_voting)
        return boxes, scores, class_ids

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
                "soft_nms_sigma": self.soft_nms_sigma, "box_voting": self.box_voting}


def lowest_score(config: Config) -> float:
    """The lowest score of a detection that leaves the network.

    It is `DETECTION_MIN_CONFIDENCE`, divided by the number of copies of the image where there are
    mirrored ones (`DETECTION_FLIPS`): the fused score is then compared with the setting, and an
    object that is just below it in one copy must not count as missed there.
    """
    return float(config.DETECTION_MIN_CONFIDENCE) / (1 + len(config.DETECTION_FLIPS))


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
        class_ids = frcnn_ops.argmax(probabilities, axis=-1)
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


def vote_boxes(boxes: Tensor, class_ids: Tensor, candidates: dict[str, Tensor],
               iou_threshold: float) -> Tensor:
    """Averages each detection's box with the candidates of its class that overlap it, by score.

    Source: Gidaris and Komodakis 2015 ("Object detection via a multi-region and semantic
    segmentation-aware CNN model"), section 3.3.

    Args:
        boxes: float32 `[B, K, 4]`, those that suppression keeps.
        class_ids: int32 `[B, K]`; 0 for a row of padding.
        candidates: of `candidate_detections`, in the same unit; those vote that entered
            suppression, the detection itself among them.
        iou_threshold: IoU with the detection from which on a candidate votes, above 0.

    Returns:
        `[B, K, 4]`; a box without area, which no candidate overlaps, stays as it is.
    """
    others, scores = candidates["clipped"], candidates["kept_scores"]
    votes = ops.logical_and(frcnn_ops.overlaps_graph(boxes, others) >= iou_threshold,
                            ops.equal(class_ids[:, :, None], candidates["class_ids"][:, None, :]))
    votes = ops.logical_and(votes, scores[:, None, :] > 0)
    weights = ops.where(votes, scores[:, None, :], 0.0)
    total = ops.sum(weights, axis=-1)
    total = ops.where(total > 0, total, 1.0)
    # Means of the differences to the box: exact where all agree. Summed by coordinate, since a
    # matrix product would be computed in TF32 on some GPUs, which is wrong by whole pixels.
    sides = []
    for i in range(4):
        side, differences = boxes[..., i], others[:, None, :, i] - boxes[:, :, None, i]
        shift = ops.sum(ops.where(votes, weights * differences, 0.0), axis=-1) / total
        sides.append(side + shift)
    return ops.stack(sides, axis=-1)


def refine_detections_graph(rois: Tensor, probs: Tensor, deltas: Tensor, window: Tensor,
                            config: Config) -> Tensor:
    """The final detections of one image, as a tensor, normalized as in the reference.

    Args:
        rois: `[N, 4]` normalized.
        probs: `[N, C]`.
        deltas: `[N, C, 4]` divided by `BBOX_STD_DEV`.
        window: `[4]` normalized: the part of the molded image that is not padding.
        config: Config; `BBOX_STD_DEV` and the `DETECTION_*` settings are read.

    Returns:
        float32 `[DETECTION_MAX_INSTANCES, 6]`: y1, x1, y2, x2 normalized, class id, score; best
        first, zero rows after them.
    """
    rois, probs, deltas, window = (ops.convert_to_tensor(x, "float32")[None]
                                   for x in (rois, probs, deltas, window))
    boxes, scores, class_ids = DetectionLayer(config).normalized(rois, probs, deltas,
                                                                 window[:, None])
    rows = ops.concatenate([boxes[0], ops.cast(class_ids[0], "float32")[:, None],
                            scores[0][:, None]], axis=-1)
    return ops.where(class_ids[0][:, None] > 0, rows, 0.0)


def detection_steps(rois: ArrayLike, probs: Array, deltas: ArrayLike, window: ArrayLike,
                    config: Config, image_shape: Shape | None = None) -> dict[str, Array]:
    """Every step of the layer `mrcnn_detection` for one image, as NumPy arrays; for inspection.

    Args: as `refine_detections`.

    Returns:
        Dict of `class_ids`, `scores`, `refined`, `clipped`, `kept_scores` as
        `candidate_detections` gives them (without the batch axis), `keep` int32 `[K]`: the rows
        that NMS keeps, best first, `final_scores` float32 `[K]`: theirs, as Soft-NMS lowers them,
        and `final_boxes` float32 `[K, 4]` normalized: theirs, as box voting averages them.

    Raises:
        ValueError: as `refine_detections`.
    """
    shape = _molded_shape(config, image_shape)
    inside = frcnn_ops.norm_boxes_graph(ops.convert_to_tensor(window, "float32"), shape)
    boxes, probabilities, changes = (ops.convert_to_tensor(x, "float32")[None]
                                     for x in (rois, probs, deltas))
    tensors = candidate_detections(boxes, probabilities, changes, inside[None, None],
                                   lowest_score(config), config.BBOX_STD_DEV,
                                   config.DETECTION_ALL_CLASSES)
    keep, scores = _kept(tensors, config, probs.shape[-1])
    steps = {name: ops.convert_to_numpy(value[0]) for name, value in tensors.items()}
    final = steps["clipped"][keep]
    if config.DETECTION_BOX_VOTING:
        final = ops.convert_to_numpy(vote_boxes(
            ops.convert_to_tensor(final[None]),
            ops.convert_to_tensor(steps["class_ids"][keep][None]), tensors,
            config.DETECTION_BOX_VOTING)[0])
    return {**steps, "keep": keep, "final_scores": scores, "final_boxes": final}


def _molded_shape(config: Config, image_shape: Shape | IntArray | None) -> Shape | IntArray:
    """The shape of the molded image, which the settings tell in one resize mode only."""
    if image_shape is not None:
        return image_shape
    if config.IMAGE_RESIZE_MODE != "square":
        raise ArgumentError(
            f"IMAGE_RESIZE_MODE is {config.IMAGE_RESIZE_MODE!r}, in which molded images differ in "
            "shape: pass image_shape, the (height, width) of the molded image (`image_shape` in "
            "its meta).")
    return config.IMAGE_SHAPE


def _kept(tensors: dict[str, Tensor], config: Config, num_classes: int) -> tuple[Array, Array]:
    """Rows `[K]` that suppression leaves of one image's candidates, and their scores."""
    boxes, scores, class_ids = (tensors[name] for name in ("clipped", "kept_scores", "class_ids"))
    if config.DETECTION_SOFT_NMS_SIGMA:
        keep, lowered = frcnn_ops.soft_nms(
            boxes, scores, class_ids, config.DETECTION_SOFT_NMS_SIGMA,
            lowest_score(config), config.DETECTION_MAX_INSTANCES)
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
        image_shape: (height, width, …) of the molded image. Only in the resize mode "square",
            where all molded images have the shape `config.IMAGE_SHAPE`, may it be left out.

    Returns:
        float32 `[K, 6]`: y1, x1, y2, x2 in float pixels of the molded image, class id, score; best
        first.

    Raises:
        ValueError: `image_shape` is left out in another resize mode.
    """
    steps = detection_steps(rois, probs, deltas, window, config, image_shape)
    shape = _molded_shape(config, image_shape)
    keep = steps["keep"]
    boxes = ops.convert_to_numpy(frcnn_ops.denorm_boxes_exactly(
        ops.convert_to_tensor(steps["final_boxes"]), shape))
    columns = (boxes, steps["class_ids"][keep, None], steps["final_scores"][:, None])
    return np.concatenate(columns, axis=1).astype(np.float32)
