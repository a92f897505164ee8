"""ProposalLayer: from the RPN's scores and deltas to the boxes that the head looks at."""

import keras
from keras import ops

from frcnn.network import ops as frcnn_ops


class ProposalLayer(keras.layers.Layer):
    """Chooses the best anchors, refines, clips and suppresses them.

    Source: Ren et al. 2015 (Faster R-CNN), section 3.3.

    Args:
        proposal_count: rows that come out, zero-padded.
        nms_threshold: IoU above which the lower-scored box is dropped.
        config: Config; `PRE_NMS_LIMIT` and `RPN_BBOX_STD_DEV` are read.

    Call: `[scores [B, A, 2], deltas [B, A, 4], anchors [B, A, 4] or [1, A, 4] normalized]` →
    float32 `[B, proposal_count, 4]` normalized, best first.
    """

    def __init__(self, proposal_count, nms_threshold, config=None, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.proposal_count = proposal_count
        self.nms_threshold = nms_threshold
        self.config = config

    def call(self, inputs):
        steps = candidate_boxes(*inputs, self.config)
        boxes, _, _ = frcnn_ops.suppress(
            steps["clipped"], steps["scores"], self.nms_threshold, self.proposal_count)
        return ops.stop_gradient(boxes)

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], self.proposal_count, 4)


def candidate_boxes(rpn_class, rpn_bbox, anchors, config):
    """The boxes that go into suppression, and the steps towards them.

    Args:
        rpn_class: `[B, A, 2]` probabilities (background, object).
        rpn_bbox: `[B, A, 4]` deltas, divided by `RPN_BBOX_STD_DEV`.
        anchors: `[B or 1, A, 4]` normalized.

    Returns:
        Dict with, for the `PRE_NMS_LIMIT` best anchors, best first: `indices` `[B, K]`, `scores`
        `[B, K]`, and boxes `[B, K, 4]`: `anchors`, `refined` and `clipped` to the image.
    """
    scores = ops.cast(rpn_class, "float32")[:, :, 1]
    count = frcnn_ops.smaller(config.PRE_NMS_LIMIT, ops.shape(scores)[1])
    scores, indices = ops.top_k(scores, k=count)
    deltas = frcnn_ops.take_rows(ops.cast(rpn_bbox, "float32"), indices)
    deltas = deltas * ops.convert_to_tensor(config.RPN_BBOX_STD_DEV, "float32")
    # All images share the anchors, so they are taken from one list.
    chosen = ops.take(anchors[0], indices, axis=0)
    refined = frcnn_ops.apply_box_deltas_graph(chosen, deltas)
    clipped = frcnn_ops.clip_boxes_graph(refined, [0.0, 0.0, 1.0, 1.0])
    return {"indices": indices, "scores": scores, "anchors": chosen, "refined": refined,
            "clipped": clipped}


def proposal_steps(rpn_class, rpn_bbox, anchors, config, proposal_count=None):
    """Every step inside `ROI`, for one image, as NumPy arrays; for inspection.

    Args:
        rpn_class `[A, 2]`, rpn_bbox `[A, 4]`, anchors `[A, 4]` normalized: one image's.
        proposal_count: default `POST_NMS_ROIS_INFERENCE`.

    Returns:
        Dict of `indices`, `scores`, `anchors`, `refined`, `clipped` as `candidate_boxes` gives
        them (without the batch axis), `keep` int32 `[N]`: the rows that suppression leaves, best
        first, and `proposals` float32 `[N, 4]` normalized, without padding.
    """
    inputs = (ops.convert_to_tensor(x)[None] for x in (rpn_class, rpn_bbox, anchors))
    steps = candidate_boxes(*inputs, config)
    count = proposal_count or config.POST_NMS_ROIS_INFERENCE
    keep, valid = frcnn_ops.nms_indices(steps["clipped"], steps["scores"],
                                        config.RPN_NMS_THRESHOLD, count)
    steps = {name: ops.convert_to_numpy(value[0]) for name, value in steps.items()}
    steps["keep"] = ops.convert_to_numpy(keep[0])[ops.convert_to_numpy(valid[0])]
    steps["proposals"] = steps["clipped"][steps["keep"]]
    return steps
