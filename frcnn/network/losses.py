"""The four losses of training, with static shapes; each is 0, not NaN, where nothing counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
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
    """

    weights: Mapping[str, float]
    weight_decay: float
    label_smoothing: float

    @classmethod
    def from_settings(cls, config: Config) -> "LossSettings":
        """Those of a Config: `LOSS_WEIGHTS`, `WEIGHT_DECAY`, `LABEL_SMOOTHING`."""
        weights = {name: float(config.LOSS_WEIGHTS.get(name, 1.0)) for name in LOSS_NAMES}
        return cls(weights, float(config.WEIGHT_DECAY), float(config.LABEL_SMOOTHING))

    def total(self, values: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum of losses by name, a scalar."""
        return sum(self.weights.get(name, 1.0) * value for name, value in values.items())


def smooth_l1_loss(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Elementwise: quadratic below a difference of 1, linear above.

    Source: Girshick 2015 (Fast R-CNN), equation 3.
    """
    difference = ops.abs(y_true - y_pred)
    return ops.where(difference < 1.0, 0.5 * difference**2, difference - 0.5)


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
                        rpn_bbox: Tensor) -> Tensor:
    """Smooth L1 of the deltas, over the anchors matched to an object.

    Args:
        config: not read, may be None; kept from the reference, whose version needs the batch size.
        target_bbox: `[B, R, 4]`; row i of an image belongs to its i-th positive anchor.
        rpn_match: int `[B, A, 1]`.
        rpn_bbox: `[B, A, 4]`.

    Returns:
        float32 scalar.
    """
    positive = ops.equal(ops.squeeze(rpn_match, axis=-1), 1)
    order = ops.cumsum(ops.cast(positive, "int32"), axis=1) - 1
    row = ops.clip(order, 0, target_bbox.shape[1] - 1)
    target = frcnn_ops.take_rows(ops.cast(target_bbox, "float32"), row)
    loss = smooth_l1_loss(target, ops.cast(rpn_bbox, "float32"))
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


def mrcnn_bbox_loss_graph(target_bbox: Tensor, target_class_ids: Tensor,
                          pred_bbox: Tensor) -> Tensor:
    """Smooth L1 of the deltas of the target's class, over the positive RoIs.

    Args:
        target_bbox: `[B, T, 4]`.
        target_class_ids: int `[B, T]`, 0 where a RoI is not positive.
        pred_bbox: `[B, T, C, 4]`.

    Returns:
        float32 scalar.
    """
    labels = ops.cast(target_class_ids, "int32")
    predicted = frcnn_ops.take_of_each(ops.cast(pred_bbox, "float32"), labels)
    loss = smooth_l1_loss(ops.cast(target_bbox, "float32"), predicted)
    return _mean(ops.mean(loss, axis=-1), labels > 0)


def is_decayed(variable: keras.Variable) -> bool:
    """Whether the L2 penalty counts a weight: all but BatchNorm's gamma and beta."""
    return variable.name not in ("gamma", "beta")


def l2_penalty(variables: Sequence[keras.Variable], decay: float) -> Tensor:
    """`decay` times the sum of each decayed weight's mean square, as in the reference; a scalar."""
    penalties = [ops.mean(ops.square(ops.cast(variable, "float32")))
                 for variable in variables if is_decayed(variable)]
    return decay * sum(penalties) if penalties else 0.0
