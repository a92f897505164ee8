"""DetectionLayer: from the head's scores and deltas to the final boxes."""

import keras
import numpy as np
from keras import ops

from frcnn.network import ops as frcnn_ops


class DetectionLayer(keras.layers.Layer):
    """Refines the RoIs by their best class, drops the unsure, suppresses within each class.

    Args:
        config: Config; `BBOX_STD_DEV` and the `DETECTION_*` settings are read.

    Call: `[rois [B, N, 4] normalized, probabilities [B, N, C], deltas [B, N, C, 4], image_meta
    [B, META]]` → float32 `[B, DETECTION_MAX_INSTANCES, 6]`: y1, x1, y2, x2 in float pixels of the
    molded image, class id, score; best first, zero rows after them.
    """

    def __init__(self, config=None, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.config = config

    def call(self, inputs):
        rois, probabilities, deltas, image_meta = inputs
        meta = parse_image_meta_graph(image_meta)
        shape = (meta["image_shape"][:, 0:1], meta["image_shape"][:, 1:2])
        window = frcnn_ops.norm_boxes_graph(meta["window"][:, None, :], shape)
        steps = candidate_detections(rois, probabilities, deltas, window, self.config)
        boxes, scores, class_ids = frcnn_ops.suppress(
            steps["clipped"], steps["kept_scores"], self.config.DETECTION_NMS_THRESHOLD,
            self.config.DETECTION_MAX_INSTANCES, steps["class_ids"], probabilities.shape[-1])
        boxes = frcnn_ops.denorm_boxes_exactly(boxes, shape)
        rows = ops.concatenate(
            [boxes, ops.cast(class_ids, "float32")[..., None], scores[..., None]], axis=-1)
        return ops.where(class_ids[..., None] > 0, rows, 0.0)

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], self.config.DETECTION_MAX_INSTANCES, 6)


def candidate_detections(rois, probabilities, deltas, window, config):
    """The boxes that go into the last suppression, and the steps towards them.

    Args:
        rois: `[B, N, 4]`; probabilities `[B, N, C]`; deltas `[B, N, C, 4]`.
        window: the image's part of the padded square, `[B, 1, 4]`; normalized like the RoIs.

    Returns:
        Dict of `class_ids` int32 `[B, N]` (arg-max), `scores` `[B, N]`, boxes `[B, N, 4]`
        `refined` and `clipped` to the window, and `kept_scores` `[B, N]`: −inf where a row is
        background or below `DETECTION_MIN_CONFIDENCE`.
    """
    class_ids = ops.cast(ops.argmax(probabilities, axis=-1), "int32")
    scores = ops.max(probabilities, axis=-1)
    chosen = frcnn_ops.take_of_each(deltas, class_ids)
    chosen = chosen * ops.convert_to_tensor(config.BBOX_STD_DEV, "float32")
    refined = frcnn_ops.apply_box_deltas_graph(rois, chosen)
    clipped = frcnn_ops.clip_boxes_graph(refined, window)
    sure = ops.logical_and(class_ids > 0, scores >= config.DETECTION_MIN_CONFIDENCE)
    return {"class_ids": class_ids, "scores": scores, "refined": refined, "clipped": clipped,
            "kept_scores": ops.where(sure, scores, -np.inf)}


def detection_steps(rois, probs, deltas, window, config, image_shape=None):
    """Every step inside `mrcnn_detection`, for one image, as NumPy arrays; for inspection.

    Args: as `refine_detections`.

    Returns:
        Dict of `class_ids`, `scores`, `refined`, `clipped`, `kept_scores` as
        `candidate_detections` gives them (without the batch axis), and `keep` int32 `[K]`: the
        rows that suppression leaves, best first.
    """
    shape = config.IMAGE_SHAPE if image_shape is None else image_shape
    window = frcnn_ops.norm_boxes_graph(ops.convert_to_tensor(window, "float32"), shape)
    inputs = (ops.convert_to_tensor(x, "float32")[None] for x in (rois, probs, deltas))
    steps = candidate_detections(*inputs, window[None, None], config)
    keep, valid = frcnn_ops.nms_indices(
        steps["clipped"], steps["kept_scores"], config.DETECTION_NMS_THRESHOLD,
        config.DETECTION_MAX_INSTANCES, steps["class_ids"], probs.shape[-1])
    steps = {name: ops.convert_to_numpy(value[0]) for name, value in steps.items()}
    steps["keep"] = ops.convert_to_numpy(keep[0])[ops.convert_to_numpy(valid[0])]
    return steps


def refine_detections(rois, probs, deltas, window, config, image_shape=None):
    """The final detections of one image, on the host.

    Args:
        rois: `[N, 4]` normalized; probs `[N, C]`; deltas `[N, C, 4]` divided by the std-dev.
        window: `[4]`, pixels of the molded image: its part that is not padding.
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


def parse_image_meta_graph(meta):
    """The parts of image_meta `[B, META]` by name, as slices of the tensor.

    The keys are those of `frcnn.data.image_meta.parse_image_meta`; shapes and window are in pixels.
    """
    return {
        "image_id": meta[:, 0],
        "original_image_shape": meta[:, 1:4],
        "image_shape": meta[:, 4:7],
        "window": meta[:, 7:11],
        "scale": meta[:, 11],
        "active_class_ids": meta[:, 12:],
    }
