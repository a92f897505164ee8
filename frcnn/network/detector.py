"""The Keras model of a detector: a functional model with the losses of a training."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from frcnn.arrays import Tensor
from frcnn.config import LOSS_NAMES
from frcnn.errors import ArgumentError, OutputError
from frcnn.network import losses
from frcnn.network import ops as frcnn_ops
from frcnn.network.cascade import stage_loss_weight, stage_std_dev, stages_of
from frcnn.network.losses import LossSettings
from frcnn.weights import checkpoint
from frcnn.weights.recipes import stage_suffix

# The order in which `data_generator` lists the inputs of training.
TRAINING_INPUTS = ("input_image", "input_image_meta", "input_rpn_match", "input_rpn_bbox",
                   "input_gt_class_ids", "input_gt_boxes", "input_rois")


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

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """As of Keras; the training graph also takes a list in the order of `data_generator`."""
        return super().__call__(self._named(inputs), *args, **kwargs)

    def train_on_batch(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """As of Keras; x may be a list in the order of `data_generator`."""
        return super().train_on_batch(self._named(x), *args, **kwargs)

    def test_on_batch(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """As of Keras; x may be a list in the order of `data_generator`."""
        return super().test_on_batch(self._named(x), *args, **kwargs)

    def _named(self, inputs: Any) -> Any:
        """The inputs of the training graph as a dict by name, where they are a list."""
        if not isinstance(inputs, (list, tuple)) or not isinstance(self.input, dict):
            return inputs
        return {name: value for name, value in zip(TRAINING_INPUTS, inputs) if name in self.input}

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Outputs of the graph for its inputs; `frcnn.network.graph` names them."""
        with frcnn_ops.portable_kernels(bool(self.jit_compile)):
            return super().call(inputs, training=training, mask=mask)

    def train_step(self, *args: Any, **kwargs: Any) -> Any:
        """Keras's own, of which nothing stays in memory when the model is deleted."""
        with frcnn_ops.gradients_end_with_the_graph():
            return super().train_step(*args, **kwargs)

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None,
                     sample_weight: Any = None, training: bool = True) -> Tensor:
        """The weighted sum of the four losses, and regularization; `y` is not used.

        Raises:
            ValueError: the model has no loss settings.
        """
        settings = self._settings()
        values = self.loss_values(self._named(x), y_pred)
        for mean, name in zip(self.loss_means, LOSS_NAMES):
            mean.update_state(values[name])
        penalty = self.regularization()
        if optimizer_adds_decay(getattr(self, "optimizer", None)):
            penalty = ops.stop_gradient(penalty)  # reported, but not trained twice
        return settings.total(values) + penalty

    def regularization(self) -> Tensor:
        """The L2 penalty of the trained weights, a scalar."""
        settings = self._settings()
        return losses.l2_penalty(self.trainable_variables, settings.weight_decay,
                                 settings.decay_of_mean)

    def loss_values(self, x: Mapping[str, Tensor],
                    y_pred: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The four losses of one batch by name, scalars.

        Args:
            x: inputs of the training graph.
            y_pred: its outputs.
        """
        match = y_pred["rpn_sampled_match"]
        active = frcnn_ops.parse_image_meta_graph(x["input_image_meta"])["active_class_ids"]
        settings = self._settings()
        head = [self._head_losses(y_pred, stage, active)
                for stage in stages_of(y_pred)]  # one stage, unless there is a cascade
        return dict(zip(LOSS_NAMES, (
            losses.rpn_class_loss_graph(match, y_pred["rpn_sampled_logits"]),
            losses.rpn_bbox_loss_graph(
                None, x["input_rpn_bbox"], match, y_pred["rpn_sampled_bbox"],
                settings.smooth_l1_beta),
            sum(class_loss for class_loss, _ in head),
            sum(bbox_loss for _, bbox_loss in head),
        ), strict=True))

    def _head_losses(self, y_pred: Mapping[str, Tensor], stage: int,
                     active: Tensor) -> tuple[Tensor, Tensor]:
        """The class loss and the box loss of one stage of the head, times its factor."""
        settings, suffix, weight = self._settings(), stage_suffix(stage), stage_loss_weight(stage)
        class_ids = y_pred["target_class_ids" + suffix]
        giou_std_dev = None
        if settings.bbox_loss == "giou":
            giou_std_dev = stage_std_dev(settings.bbox_std_dev, stage)
        class_loss = losses.mrcnn_class_loss_graph(
            class_ids, y_pred["mrcnn_class_logits" + suffix], active, settings.label_smoothing)
        bbox_loss = losses.mrcnn_bbox_loss_graph(
            y_pred["target_bbox" + suffix], class_ids, y_pred["mrcnn_bbox" + suffix],
            settings.smooth_l1_beta, giou_std_dev)
        return weight * class_loss, weight * bbox_loss

    def _settings(self) -> LossSettings:
        if self.loss_settings is None:
            raise ArgumentError(
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

    def save_weights(self, filepath: str | os.PathLike[str], overwrite: bool = True,
                     max_shard_size: float | None = None, save_format: str | None = None) -> None:
        """Keras's own for NAME.weights.h5; other .h5 files get the reference's layout.

        Args:
            filepath: the file.
            overwrite: False raises an error where there is one.
            max_shard_size: as of Keras.
            save_format: of Keras 2; unused, since the name decides.

        Raises:
            OutputError: the file exists, and `overwrite` is False.
            CheckpointError: it cannot be written.
        """
        if not _has_reference_layout(filepath):
            super().save_weights(filepath, overwrite=overwrite, max_shard_size=max_shard_size)
            return
        if not overwrite and os.path.exists(filepath):
            raise OutputError(f"{filepath} exists already; pass overwrite=True to replace it.")
        checkpoint.save_weights(self, filepath)

    def load_weights(self, filepath: str | os.PathLike[str], skip_mismatch: bool = False,
                     by_name: bool = False, **options: Any) -> None:
        """Keras's own for NAME.weights.h5; other .h5 files are read by the names of their layers.

        Args:
            filepath: the file.
            skip_mismatch: as of Keras, for its own files.
            by_name: True leaves layers as they are that the file lacks, as in Keras 2.
            **options: as of Keras, for its own files.

        Raises:
            FileNotFoundError, CheckpointError: see `frcnn.weights.checkpoint.load_weights`.
        """
        if not _has_reference_layout(filepath) or skip_mismatch or options:
            super().load_weights(filepath, skip_mismatch, **options)
            return
        checkpoint.load_weights(self, filepath, allow_missing=by_name)

    def _plain_settings(self) -> dict[str, Any] | None:
        return None if self.loss_settings is None else dataclasses.asdict(self.loss_settings)


def _has_reference_layout(path: str | os.PathLike[str]) -> bool:
    """Whether a file of weights has a name that Keras 2 wrote, and Keras 3 does not."""
    name = os.fspath(path).lower()
    return name.endswith((".h5", ".hdf5")) and not name.endswith(".weights.h5")


def optimizer_adds_decay(optimizer: Any) -> bool:
    """Whether the optimizer adds the gradient of the L2 penalty itself: its `adds_decay`."""
    return bool(getattr(getattr(optimizer, "inner_optimizer", optimizer), "adds_decay", False))
