"""The Keras model of a detector: a functional model with the losses of a training."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from frcnn.arrays import Tensor
from frcnn.config import LOSS_NAMES
from frcnn.network import losses
from frcnn.network import ops as frcnn_ops
from frcnn.network.losses import LossSettings


@keras.saving.register_keras_serializable(package="frcnn")
class Detector(keras.Model):
    """A functional model that chooses its kernels when traced, and computes the detector's losses.

    It is saved, loaded and cloned by Keras's own functions, in training too. `clone_model` gives a
    clone no other arguments than inputs, outputs and name: a clone has the loss settings only if
    the original is compiled, else `Detector.from_config(model.get_config())` makes a copy with
    them.

    Args:
        inputs, outputs, name: as of `keras.Model`; the training graph's outputs are a dict.
        loss_settings: LossSettings, or the dict of its attributes; None for a model that is not
            trained.
    """

    # Keras rebuilds a subclass of its functional models only if it takes *args and **kwargs.
    def __init__(self, *args: Any, loss_settings: LossSettings | Mapping[str, Any] | None = None,
                 **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(loss_settings, Mapping):
            loss_settings = LossSettings(**loss_settings)
        self.loss_settings = loss_settings
        self.loss_means = [keras.metrics.Mean(name=name) for name in LOSS_NAMES]

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Outputs of the graph for its inputs; `frcnn.network.graph` names them."""
        with frcnn_ops.portable_kernels(bool(self.jit_compile)):
            return super().call(inputs, training=training, mask=mask)

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None,
                     sample_weight: Any = None, training: bool = True) -> Tensor:
        """The weighted sum of the four losses, and regularization; `y` is not used.

        Raises:
            ValueError: the model has no loss settings.
        """
        settings = self._settings()
        values = self.loss_values(x, y_pred)
        for mean, name in zip(self.loss_means, LOSS_NAMES):
            mean.update_state(values[name])
        penalty = self.regularization()
        if optimizer_adds_decay(getattr(self, "optimizer", None)):
            penalty = ops.stop_gradient(penalty)  # reported, but not trained twice
        return settings.total(values) + penalty

    def regularization(self) -> Tensor:
        """The L2 penalty of the trained weights, a scalar."""
        return losses.l2_penalty(self.trainable_variables, self._settings().weight_decay)

    def loss_values(self, x: Mapping[str, Tensor],
                    y_pred: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The four losses of one batch by name, scalars.

        Args:
            x: inputs of the training graph.
            y_pred: its outputs.
        """
        match = y_pred["rpn_sampled_match"]
        active = frcnn_ops.parse_image_meta_graph(x["input_image_meta"])["active_class_ids"]
        class_ids = y_pred["target_class_ids"]
        return dict(zip(LOSS_NAMES, (
            losses.rpn_class_loss_graph(match, y_pred["rpn_sampled_logits"]),
            losses.rpn_bbox_loss_graph(
                None, x["input_rpn_bbox"], match, y_pred["rpn_sampled_bbox"]),
            losses.mrcnn_class_loss_graph(
                class_ids, y_pred["mrcnn_class_logits"], active, self._settings().label_smoothing),
            losses.mrcnn_bbox_loss_graph(y_pred["target_bbox"], class_ids, y_pred["mrcnn_bbox"]),
        ), strict=True))

    def _settings(self) -> LossSettings:
        if self.loss_settings is None:
            raise ValueError(
                f"The model {self.name!r} has no loss settings, so it cannot be trained: it was "
                "built for inference, or cloned by keras.models.clone_model before it was compiled "
                "(Detector.from_config(model.get_config()) makes a copy with them).")
        return self.loss_settings

    # --- saving -----------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "loss_settings": self._plain_settings()}

    def get_compile_config(self) -> dict[str, Any]:
        """Keras's, and the loss settings, which `clone_model` passes on in no other way."""
        config = super().get_compile_config()  # empty if the model is not compiled
        return {**config, "loss_settings": self._plain_settings()} if config else config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles the model as `get_compile_config` says."""
        config = dict(config)
        settings = config.pop("loss_settings", None)
        if self.loss_settings is None and settings is not None:
            self.loss_settings = LossSettings(**settings)
        super().compile_from_config(config)

    def _plain_settings(self) -> dict[str, Any] | None:
        return None if self.loss_settings is None else dataclasses.asdict(self.loss_settings)


def optimizer_adds_decay(optimizer: Any) -> bool:
    """Whether the optimizer adds the gradient of the L2 penalty itself: its `adds_decay`."""
    return bool(getattr(getattr(optimizer, "inner_optimizer", optimizer), "adds_decay", False))
