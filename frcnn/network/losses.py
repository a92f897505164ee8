"""The four losses of training, with static shapes; each is 0, not NaN, where nothing counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from frcnn.arrays import Tensor
from frcnn.config import LOSS_NAMES, Config
from frcnn.network import ops as frcnn_ops


@dataclass(frozen=True)
class LossSettings:
    """What a training minimizes.

    Attributes:
        weights: the factor of each loss, by its name in `LOSS_NAMES`; 1 for those not in it.
        weight_decay: the factor of the L2 penalty.
        label_smoothing: share of each target of the head's class loss that is spread over all
            classes.
        decay_of_mean: whether the penalty is that of each weight's mean square, else of the sum.
        smooth_l1_beta: where the box losses change from quadratic to linear.
        bbox_loss: the head's box loss, "smooth_l1" or "giou".
        bbox_std_dev: what the head's target deltas are divided by.
    """

    weights: Mapping[str, float]
    weight_decay: float
    label_smoothing: float
    decay_of_mean: bool = True
    smooth_l1_beta: float = 1.0
    bbox_loss: str = "smooth_l1"
    bbox_std_dev: Sequence[float] = (0.1, 0.1, 0.2, 0.2)

    @classmethod
    def from_settings(cls, config: Config) -> "LossSettings":
        """Those of a Config, from the settings of the same names."""
        weights = {name: float(config.LOSS_WEIGHTS.get(name, 1.0)) for name in LOSS_NAMES}
        return cls(weights, float(config.WEIGHT_DECAY), float(config.LABEL_SMOOTHING),
                   bool(config.WEIGHT_DECAY_OF_MEAN), float(config.SMOOTH_L1_BETA),
                   config.BBOX_LOSS, np.asarray(config.BBOX_STD_DEV, float).tolist())

    def total(self, values: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum of losses by name, a scalar."""
        return sum(self.weights.get(name, 1.0) * value for name, value in values.items())


def smooth_l1_loss(y_true: Tensor, y_pred: Tensor, beta: float = 1.0) -> Tensor:
    """Elementwise: quadratic below a difference of `beta`, linear above.

    Source: Girshick 2015 (Fast R-CNN), equation 3; `beta` is 1 there.
    """
    difference = ops.abs(y_true - y_pred)
    return ops.where(difference < beta, 0.5 * difference**2 / beta, difference - 0.5 * beta)


def giou_loss(target_deltas: Tensor, predicted_deltas: Tensor, std_dev: Sequence[float]) -> Tensor:
    """1 − GIoU of the boxes that deltas make of one box.

    Both IoU and GIoU stay the same if an axis is scaled or shifted, so that the box itself, here
    the unit square, does not matter.

    Source: Rezatofighi et al. 2019 (Generalized Intersection over Union), algorithm 1.

    Args:
        target_deltas, predicted_deltas: `[..., 4]`, divided by `std_dev`.
        std_dev: `[4]`.

    Returns:
        float32 `[...]`, 0 to 2.
    """
    scale = ops.convert_to_tensor(list(std_dev), "float32")
    unit = ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0])
    targets, boxes = (frcnn_ops.apply_box_deltas_graph(
        ops.broadcast_to(unit, ops.shape(deltas)), deltas * scale)
        for deltas in (target_deltas, predicted_deltas))
    inside = ops.prod(ops.maximum(ops.minimum(targets[..., 2:], boxes[..., 2:])
                                  - ops.maximum(targets[..., :2], boxes[..., :2]), 0.0), axis=-1)
    around = ops.prod(ops.maximum(targets[..., 2:], boxes[..., 2:])
                      - ops.minimum(targets[..., :2], boxes[..., :2]), axis=-1)
    union = ops.prod(targets[..., 2:] - targets[..., :2], axis=-1) \
        + ops.prod(boxes[..., 2:] - boxes[..., :2], axis=-1) - inside
    return 2.0 - inside / union - union / around


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask`, of the same shape, is true; 0 where it is nowhere."""
    weight = ops.cast(mask, "float32")
    return ops.sum(values * weight) / ops.maximum(ops.sum(weight), 1.0)


def _cross_entropy(labels: Tensor, logits: Tensor, smoothing: float = 0.0) -> Tensor:
    """Softmax cross-entropy of int labels `[...]` and logits `[..., C]`, float32 `[...]`."""
    logits = ops.cast(logits, "float32")
    log_probabilities = ops.log_softmax(logits, axis=-1)
    target = ops.one_hot(labels, logits.shape[-1], dtype="float32")
    target = target * (1.0 - smoothing) + smoothing / logits.shape[-1]
    return -ops.sum(target * log_probabilities, axis=-1)


def rpn_class_loss_graph(rpn_match: Tensor, rpn_class_logits: Tensor) -> Tensor:
    """Cross-entropy of object against background, over the anchors that are not neutral.

    Args:
        rpn_match: int `[B, A, 1]`: 1 object, −1 background, 0 neutral.
        rpn_class_logits: `[B, A, 2]`.

    Returns:
        float32 scalar.
    """
    match = ops.squeeze(rpn_match, axis=-1)
    labels = ops.cast(ops.equal(match, 1), "int32")
    return _mean(_cross_entropy(labels, rpn_class_logits), ops.not_equal(match, 0))


def rpn_bbox_loss_graph(config: Config | None, target_bbox: Tensor, rpn_match: Tensor,
                        rpn_bbox: Tensor, beta: float = 1.0) -> Tensor:
    """Smooth L1 of the deltas, over the anchors matched to an object.

    Args:
        config: not read, may be None; kept from the reference, whose version needs the batch size.
        target_bbox: `[B, R, 4]`; row i of an image belongs to its i-th positive anchor.
        rpn_match: int `[B, A, 1]`.
        rpn_bbox: `[B, A, 4]`.
        beta: see `smooth_l1_loss`.

    Returns:
        float32 scalar.
    """
    positive = ops.equal(ops.squeeze(rpn_match, axis=-1), 1)
    order = ops.cumsum(ops.cast(positive, "int32"), axis=1) - 1
    row = ops.clip(order, 0, target_bbox.shape[1] - 1)
    target = frcnn_ops.take_rows(ops.cast(target_bbox, "float32"), row)
    loss = smooth_l1_loss(target, ops.cast(rpn_bbox, "float32"), beta)
    return _mean(ops.mean(loss, axis=-1), positive)


def mrcnn_class_loss_graph(target_class_ids: Tensor, pred_class_logits: Tensor,
                           active_class_ids: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of the head's classes, over the RoIs whose predicted class is active.

    Args:
        target_class_ids: int `[B, T]`; padding counts as background.
        pred_class_logits: `[B, T, C]`.
        active_class_ids: `[B, C]`, 1 for the classes of each image's source. (The reference takes
            the first image's for the whole batch; repeat it to get the same.)
        label_smoothing: share of each target that is spread over all classes.

    Returns:
        float32 scalar.
    """
    labels = ops.cast(target_class_ids, "int32")
    predicted = ops.cast(ops.argmax(pred_class_logits, axis=2), "int32")
    active = frcnn_ops.take_rows(ops.cast(active_class_ids, "float32"), predicted)
    return _mean(_cross_entropy(labels, pred_class_logits, label_smoothing), active > 0)


def mrcnn_bbox_loss_graph(target_bbox: Tensor, target_class_ids: Tensor, pred_bbox: Tensor,
                          beta: float = 1.0, giou_std_dev: Sequence[float] | None = None) -> Tensor:
    """Smooth L1 or GIoU loss of the deltas of the target's class, over the positive RoIs.

    Args:
        target_bbox: `[B, T, 4]`.
        target_class_ids: int `[B, T]`, 0 where a RoI is not positive.
        pred_bbox: `[B, T, C, 4]`.
        beta: see `smooth_l1_loss`.
        giou_std_dev: what the deltas are divided by, for `giou_loss`; None for smooth L1.

    Returns:
        float32 scalar.
    """
    labels = ops.cast(target_class_ids, "int32")
    predicted = frcnn_ops.take_of_each(ops.cast(pred_bbox, "float32"), labels)
    target = ops.cast(target_bbox, "float32")
    if giou_std_dev is None:
        loss = ops.mean(smooth_l1_loss(target, predicted, beta), axis=-1)
    else:
        loss = giou_loss(target, predicted, giou_std_dev)
    return _mean(loss, labels > 0)


def is_decayed(variable: keras.Variable) -> bool:
    """Whether the L2 penalty counts a weight: all but BatchNorm's gamma and beta."""
    return variable.name not in ("gamma", "beta")


def l2_penalty(variables: Sequence[keras.Variable], decay: float, of_mean: bool = True) -> Tensor:
    """`decay` times the sum of each decayed weight's mean square, as in the reference; a scalar.

    Without `of_mean`: half of `decay` times the sum of all squares, whose gradient is
    `decay · weight`, as of other libraries' weight decay.
    """
    squares = [ops.square(ops.cast(variable, "float32"))
               for variable in variables if is_decayed(variable)]
    if not squares:
        return 0.0
    return decay * sum(map(ops.mean, squares)) if of_mean else 0.5 * decay * sum(
        map(ops.sum, squares))
