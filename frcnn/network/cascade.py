"""The cascade head: further stages of the head, each on the boxes that the one before refined.

Stage 1 is the head of `roi_head`, with its layer names; the layers of stage k have the suffix
`_s{k}`. A stage has an IoU threshold of its own, at which a box counts as an object, and its deltas
are divided by `BBOX_STD_DEV / k`, since the boxes need smaller corrections from stage to stage.

Source: Cai and Vasconcelos 2018 (Cascade R-CNN: Delving into High Quality Object Detection),
sections 4.2 and 4.3, equations 6 and 7. Unlike there, the deltas are class-specific, as in the rest
of this package: the boxes of the next stage come from those of the best foreground class.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import layers, ops

from frcnn.arrays import ArrayLike, Tensor
from frcnn.config import Config
from frcnn.network import ops as frcnn_ops
from frcnn.network.roi_targets import label_proposals, target_deltas
from frcnn.weights.recipes import stage_suffix

# Logits [B, N, C], probabilities [B, N, C] and deltas [B, N, C, 4] of a stage.
HeadOutputs: TypeAlias = tuple[Tensor, Tensor, Tensor]
# A stage's head: boxes [B, N, 4] and the suffix of the layers' names → HeadOutputs.
Head: TypeAlias = Callable[[Tensor, str], HeadOutputs]


def stage_loss_weight(stage: int) -> float:
    """The factor of a stage's losses: 1, 1/2, 1/4, …"""
    return 0.5 ** (stage - 1)


def stage_std_dev(bbox_std_dev: ArrayLike, stage: int) -> list[float]:
    """What the deltas of a stage are divided by, `[4]`: `BBOX_STD_DEV / stage`."""
    return (np.asarray(bbox_std_dev, float) / stage).tolist()


def stages_of(outputs: Container[str]) -> Iterator[int]:
    """The numbers of the stages, from 1, of which a training graph has outputs."""
    stage = 1
    while "mrcnn_class_logits" + stage_suffix(stage) in outputs:
        yield stage
        stage += 1


def cascade_training_graph(rois: Tensor, outputs: HeadOutputs, gt_class_ids: Tensor,
                           gt_boxes: Tensor, head: Head, config: Config) -> dict[str, Tensor]:
    """The stages after the first, in training.

    Args:
        rois: `[B, T, 4]` normalized, those of stage 1; zero rows are padding.
        outputs: those of stage 1.
        gt_class_ids: int `[B, M]`; 0 is padding, negative ids are crowds.
        gt_boxes: `[B, M, 4]` normalized.
        head: makes the layers of a stage.
        config: Config; `CASCADE_IOUS` has the threshold of each stage, the first one included.

    Returns:
        By name, with the suffix of each stage: `output_rois` `[B, T, 4]`, `target_class_ids`
        `[B, T]`, `target_bbox` `[B, T, 4]`, `mrcnn_class_logits` `[B, T, C]`, `mrcnn_class`
        `[B, T, C]`, `mrcnn_bbox` `[B, T, C, 4]`.
    """
    found = {}
    for stage, iou in enumerate(config.CASCADE_IOUS[1:], start=2):
        suffix = stage_suffix(stage)
        boxes = _refined(rois, outputs, stage, config)
        rois, class_ids, deltas = StageTargets(
            iou, stage_std_dev(config.BBOX_STD_DEV, stage), name=f"proposal_targets{suffix}",
        )([boxes, gt_class_ids, gt_boxes])
        outputs = head(rois, suffix)
        values = (rois, class_ids, deltas, *outputs)
        names = ("output_rois", "target_class_ids", "target_bbox", "mrcnn_class_logits",
                 "mrcnn_class", "mrcnn_bbox")
        found.update({name + suffix: value for name, value in zip(names, values, strict=True)})
    return found


def cascade_inference_graph(rois: Tensor, outputs: HeadOutputs, head: Head,
                            config: Config) -> tuple[Tensor, Tensor, Tensor]:
    """The stages after the first, in detection.

    Args:
        rois: `[B, N, 4]` normalized: the proposals.
        outputs: of stage 1 on them.
        head: makes the layers of a stage.
        config: Config.

    Returns:
        boxes `[B, N, 4]` normalized: those that the last stage reads; probabilities `[B, N, C]`:
        the mean of all stages', each on its own boxes; deltas `[B, N, C, 4]` of the last stage,
        divided by `BBOX_STD_DEV`, as `DetectionLayer` expects them.
    """
    probabilities = [outputs[1]]
    stages = len(config.CASCADE_IOUS)
    for stage in range(2, stages + 1):
        rois = _refined(rois, outputs, stage, config)
        outputs = head(rois, stage_suffix(stage))
        probabilities.append(outputs[1])
    mean = layers.Average(dtype="float32", name="mrcnn_class_mean")(probabilities)
    deltas = layers.Rescaling(1 / stages, dtype="float32", name="mrcnn_bbox_last")(outputs[2])
    return rois, mean, deltas


def _refined(rois: Tensor, outputs: HeadOutputs, stage: int, config: Config) -> Tensor:
    """The boxes `[B, N, 4]` of a stage, from the boxes and outputs of the one before."""
    _, probabilities, deltas = outputs
    std_dev = stage_std_dev(config.BBOX_STD_DEV, stage - 1)
    return RefinedBoxes(std_dev, name=f"rois{stage_suffix(stage)}")([rois, probabilities, deltas])


@keras.saving.register_keras_serializable(package="frcnn")
class RefinedBoxes(layers.Layer):
    """The boxes that a stage makes of its own: the deltas of the best foreground class applied.

    They are clipped to the image. Padding stays padding, and a box without area or with NaN becomes
    it. Nothing gets a gradient.

    Args:
        bbox_std_dev: what the deltas were divided by, `[4]`.

    Call: `[boxes [B, N, 4] normalized, probabilities [B, N, C], deltas [B, N, C, 4]]` → float32
    `[B, N, 4]` normalized.
    """

    def __init__(self, bbox_std_dev: ArrayLike, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.bbox_std_dev = np.asarray(bbox_std_dev, float).tolist()

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        boxes, probabilities, deltas = inputs
        class_ids = 1 + frcnn_ops.argmax(probabilities[..., 1:], axis=-1)
        deltas = frcnn_ops.take_of_each(deltas, class_ids) \
            * ops.convert_to_tensor(self.bbox_std_dev, "float32")
        refined = frcnn_ops.clip_boxes_graph(
            frcnn_ops.apply_box_deltas_graph(boxes, deltas), [0.0, 0.0, 1.0, 1.0])
        has_area = ops.all(refined[..., 2:] > refined[..., :2], axis=-1, keepdims=True)
        return ops.stop_gradient(ops.where(has_area, refined, 0.0))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return tuple(input_shape[0])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bbox_std_dev": self.bbox_std_dev}


@keras.saving.register_keras_serializable(package="frcnn")
class StageTargets(layers.Layer):
    """Assigns each box of a later stage its class and deltas anew; none is drawn or dropped.

    A box is an object's if its IoU with it is the threshold or more, else background. One that is
    no object's but overlaps a crowd region, which would never have been drawn as a negative,
    becomes padding.

    Args:
        iou: the threshold.
        bbox_std_dev: what the deltas are divided by, `[4]`.

    Call: `[boxes [B, T, 4], gt_class_ids int [B, M], gt_boxes [B, M, 4]]`, boxes normalized, zero
    rows are padding, negative class ids are crowds → boxes `[B, T, 4]`, class_ids int32 `[B, T]` (0
    for background and padding), deltas `[B, T, 4]` divided by `bbox_std_dev` (zeros there).
    """

    def __init__(self, iou: float, bbox_std_dev: ArrayLike, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.iou = float(iou)
        self.bbox_std_dev = np.asarray(bbox_std_dev, float).tolist()

    def call(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        boxes, gt_class_ids, gt_boxes = inputs
        gt_class_ids = ops.cast(gt_class_ids, "int32")
        positive, negative, overlaps = label_proposals(boxes, gt_class_ids, gt_boxes, self.iou)
        is_used = ops.logical_or(positive, negative)[..., None]
        boxes = ops.where(is_used, boxes, 0.0)
        match = ops.cast(ops.argmax(overlaps, axis=2), "int32")
        class_ids = ops.where(positive, frcnn_ops.take_rows(gt_class_ids, match), 0)
        deltas = target_deltas(boxes, frcnn_ops.take_rows(gt_boxes, match), positive,
                               self.bbox_std_dev)
        return tuple(ops.stop_gradient(x) for x in (boxes, class_ids, deltas))

    def compute_output_spec(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        shape = inputs[0].shape
        return (keras.KerasTensor(shape, "float32"), keras.KerasTensor(shape[:2], "int32"),
                keras.KerasTensor(shape, "float32"))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "iou": self.iou, "bbox_std_dev": self.bbox_std_dev}
