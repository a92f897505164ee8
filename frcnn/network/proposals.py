"""ProposalLayer: from the RPN's scores and deltas to the boxes that the head classifies."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from frcnn.arrays import Array, ArrayLike, Tensor
from frcnn.config import Config
from frcnn.network import ops as frcnn_ops


@keras.saving.register_keras_serializable(package="frcnn")
class ProposalLayer(keras.layers.Layer):
    """Selects the best-scored anchors, applies their deltas, clips them to the image, runs NMS.

    Source: Ren et al. 2015 (Faster R-CNN), section 3.3.

    Args:
        proposal_count: rows of the output, zero-padded.
        nms_threshold: IoU above which the lower-scored box is dropped.
        config: Config whose `PRE_NMS_LIMIT`, `RPN_BBOX_STD_DEV` and `PROPOSALS_PER_LEVEL` replace
            the arguments that follow.
        pre_nms_limit: how many of the best-scored anchors are refined and enter NMS.
        bbox_std_dev: what the RPN's target deltas were divided by, `[4]`.
        per_level: above 0: the best anchors of each pyramid level, this many, are refined, and
            boxes of different levels do not suppress each other (Lin et al. 2017, FPN, as in
            Detectron2 and torchvision); `pre_nms_limit` is not used.

    Call: `[probabilities [B, A, 2] (background, object), deltas [B, A, 4], anchors [B, A, 4] or [1,
    A, 4] normalized]`, and with `per_level` the levels' outputs `[B, A_level, …]`, whose numbers of
    anchors are read → float32 `[B, proposal_count, 4]` normalized, best first.
    """

    def __init__(self, proposal_count: int, nms_threshold: float, config: Config | None = None, *,
                 pre_nms_limit: int = Config.PRE_NMS_LIMIT,
                 bbox_std_dev: ArrayLike = Config.RPN_BBOX_STD_DEV,
                 per_level: int = Config.PROPOSALS_PER_LEVEL, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        if config is not None:
            pre_nms_limit, bbox_std_dev = config.PRE_NMS_LIMIT, config.RPN_BBOX_STD_DEV
            per_level = config.PROPOSALS_PER_LEVEL
        self.proposal_count = int(proposal_count)
        self.nms_threshold = float(nms_threshold)
        self.pre_nms_limit = int(pre_nms_limit)
        self.bbox_std_dev = np.asarray(bbox_std_dev, float).tolist()
        self.per_level = int(per_level)

    def call(self, inputs: Sequence[Tensor], levels: Sequence[Tensor] | None = None) -> Tensor:
        scores, deltas, anchors = inputs
        if self.per_level and levels is not None:
            return self._by_level(scores, deltas, anchors, [ops.shape(x)[1] for x in levels])
        steps = candidate_boxes(scores, deltas, anchors, self.pre_nms_limit, self.bbox_std_dev)
        boxes, _, _ = frcnn_ops.suppress(
            steps["clipped"], steps["scores"], self.nms_threshold, self.proposal_count)
        return ops.stop_gradient(boxes)

    def _by_level(self, scores: Tensor, deltas: Tensor, anchors: Tensor,
                  sizes: Sequence[Any]) -> Tensor:
        steps = candidates_by_level(scores, deltas, anchors, sizes, self.per_level,
                                    self.bbox_std_dev)
        boxes, _, _ = frcnn_ops.suppress(
            steps["clipped"], steps["scores"], self.nms_threshold, self.proposal_count,
            steps["levels"], len(sizes))
        return ops.stop_gradient(boxes)

    def compute_output_spec(self, inputs: Sequence[Tensor],
                            levels: Sequence[Tensor] | None = None) -> Tensor:
        return keras.KerasTensor((inputs[0].shape[0], self.proposal_count, 4), "float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "proposal_count": self.proposal_count,
                "nms_threshold": self.nms_threshold, "pre_nms_limit": self.pre_nms_limit,
                "bbox_std_dev": self.bbox_std_dev, "per_level": self.per_level}


def candidates_by_level(rpn_class: Tensor, rpn_bbox: Tensor, anchors: Tensor, sizes: Sequence[Any],
                        per_level: int, bbox_std_dev: ArrayLike) -> dict[str, Tensor]:
    """`candidate_boxes` of each level, concatenated, with `levels` int32 `[B, K]`.

    Args:
        rpn_class, rpn_bbox, anchors, bbox_std_dev: as of `candidate_boxes`.
        sizes: number of anchors of each level.
        per_level: upper limit of the candidates of a level.
    """
    found, first = [], 0
    for number, size in enumerate(sizes):
        level = slice(first, first + size)
        steps = candidate_boxes(rpn_class[:, level], rpn_bbox[:, level], anchors[:, level],
                                per_level, bbox_std_dev)
        steps["indices"] = steps["indices"] + first
        steps["levels"] = ops.full_like(steps["indices"], number)
        found.append(steps)
        first = first + size
    return {name: ops.concatenate([steps[name] for steps in found], axis=1) for name in found[0]}


def candidate_boxes(rpn_class: Tensor, rpn_bbox: Tensor, anchors: Tensor, pre_nms_limit: int,
                    bbox_std_dev: ArrayLike) -> dict[str, Tensor]:
    """The boxes that enter NMS, and the intermediate results.

    Args:
        rpn_class: `[B, A, 2]` probabilities (background, object).
        rpn_bbox: `[B, A, 4]` deltas, divided by `bbox_std_dev`.
        anchors: `[B or 1, A, 4]` normalized; those of the first image are used for all.
        pre_nms_limit: upper limit of K.
        bbox_std_dev: `[4]`.

    Returns:
        Dict with, for the K best anchors, best first: `indices` `[B, K]`, `scores` `[B, K]`, and
        boxes `[B, K, 4]`: `anchors`, `refined` and `clipped` to the image.
    """
    scores = ops.cast(rpn_class, "float32")[:, :, 1]
    count = frcnn_ops.smaller(pre_nms_limit, ops.shape(scores)[1])
    scores, indices = frcnn_ops.top_k(scores, k=count)
    deltas = frcnn_ops.take_rows(ops.cast(rpn_bbox, "float32"), indices)
    deltas = deltas * ops.convert_to_tensor(bbox_std_dev, "float32")
    # All images share the anchors, so they are taken from one list.
    chosen = ops.take(anchors[0], indices, axis=0)
    refined = frcnn_ops.apply_box_deltas_graph(chosen, deltas)
    clipped = frcnn_ops.clip_boxes_graph(refined, [0.0, 0.0, 1.0, 1.0])
    return {"indices": indices, "scores": scores, "anchors": chosen, "refined": refined,
            "clipped": clipped}


def proposal_steps(rpn_class: ArrayLike, rpn_bbox: ArrayLike, anchors: ArrayLike, config: Config,
                   proposal_count: int | None = None) -> dict[str, Array]:
    """Every step of the layer `ROI` for one image, as NumPy arrays; for inspection.

    Args:
        rpn_class: `[A, 2]` probabilities of one image.
        rpn_bbox: `[A, 4]` deltas.
        anchors: `[A, 4]` normalized.
        config: Config; `PRE_NMS_LIMIT`, `RPN_BBOX_STD_DEV` and `RPN_NMS_THRESHOLD` are read.
        proposal_count: default `POST_NMS_ROIS_INFERENCE`.

    Returns:
        Dict of `indices`, `scores`, `anchors`, `refined`, `clipped` as `candidate_boxes` gives
        them (without the batch axis), `keep` int32 `[N]`: the rows that NMS keeps, best first,
        and `proposals` float32 `[N, 4]` normalized, without padding.
    """
    scores, deltas, boxes = (ops.convert_to_tensor(x)[None]
                             for x in (rpn_class, rpn_bbox, anchors))
    tensors = candidate_boxes(scores, deltas, boxes, config.PRE_NMS_LIMIT, config.RPN_BBOX_STD_DEV)
    count = proposal_count or config.POST_NMS_ROIS_INFERENCE
    keep, valid = frcnn_ops.nms_indices(tensors["clipped"], tensors["scores"],
                                        config.RPN_NMS_THRESHOLD, count)
    steps = {name: ops.convert_to_numpy(value[0]) for name, value in tensors.items()}
    steps["keep"] = ops.convert_to_numpy(keep[0])[ops.convert_to_numpy(valid[0])]
    steps["proposals"] = steps["clipped"][steps["keep"]]
    return steps
