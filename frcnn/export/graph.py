"""The detector as one TensorFlow function: molded images and their windows to detections."""

from typing import Any

import keras
import tensorflow as tf

from frcnn.arrays import Tensor
from frcnn.config import Config
from frcnn.data.image_meta import META_PLACES
from frcnn.inference.folding import FoldedModel
from frcnn.keras_guard import weights_stay_the_same
from frcnn.network import ops as frcnn_ops
from frcnn.startup import collection_paused

# The names of inputs and output in every file.
IMAGE, WINDOW, DETECTIONS = "image", "window", "detections"


class ExportGraph:
    """The part of an inference model that detection needs, BatchNorm folded.

    Args:
        model: the inference model of `frcnn.network.graph`, of float32.
        config: its Config.

    Attributes:
        model: the folded model; its inputs are the image and its meta.
    """

    def __init__(self, model: keras.Model, config: Config) -> None:
        self.config = config
        with collection_paused(), frcnn_ops.default_policy():
            self._folded = FoldedModel(model, model.outputs[:1])
        self.model = self._folded.model

    @property
    def shape(self) -> tuple[int | None, int | None, int]:
        """(height, width, channels) of molded images; None is any multiple of 64."""
        height, width, channels = self.model.inputs[0].shape[1:]
        return height, width, channels

    def __call__(self, image: Tensor, window: Tensor, target: frcnn_ops.ExportTarget) -> Tensor:
        """Traces the graph.

        Args:
            image: float32 `[B, H, W, C]`, molded.
            window: float32 `[B, 4]`, (y1, x1, y2, x2) in pixels: the picture without its padding.
            target: see `frcnn.network.ops.export_target`.

        Returns:
            float32 `[B, N, 6]`, see `frcnn.network.postprocess.DetectionLayer`.
        """
        with frcnn_ops.export_target(target), frcnn_ops.default_policy(), weights_stay_the_same():
            found = self.model([image, self._meta(image, window)], training=False)
        return found[0] if isinstance(found, (list, tuple)) else found

    def function(self, target: frcnn_ops.ExportTarget) -> Any:
        """A `tf.function` of image and window, to be traced, that returns a dict."""
        @tf.function(autograph=False)
        def detect(image: tf.Tensor, window: tf.Tensor) -> dict[str, tf.Tensor]:
            return {DETECTIONS: tf.identity(self(image, window, target), name=DETECTIONS)}

        return detect

    def function_of_weights(self, target: frcnn_ops.ExportTarget, body: Any) -> tuple[Any, Any]:
        """A `tf.function` whose last arguments are the weights, for converters.

        Converters copy constants again and again, which takes gigabytes and minutes.

        Args:
            target: see `frcnn.network.ops.export_target`.
            body: function of this graph's `detect` and further arguments → dict of outputs, where
                `detect(image, window)` gives the detections with these weights.

        Returns:
            The function, and the TensorSpecs of the weights, named as in `weights`.
        """
        trained, others = self.model.trainable_variables, self.model.non_trainable_variables

        @tf.function(autograph=False)
        def of_weights(*arguments: tf.Tensor) -> dict[str, tf.Tensor]:
            first = len(arguments) - len(trained) - len(others)
            values = list(arguments[first:])

            def detect(image: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
                found, _ = self.model.stateless_call(
                    values[:len(trained)], values[len(trained):],
                    [image, self._meta(image, window)], training=False)
                return found[0] if isinstance(found, (list, tuple)) else found

            with frcnn_ops.export_target(target), frcnn_ops.default_policy(), \
                    weights_stay_the_same():
                outputs: dict[str, tf.Tensor] = body(detect, *arguments[:first])
                return outputs

        return of_weights, [tf.TensorSpec(variable.shape, variable.dtype, name=name)
                            for name, variable in self.weights.items()]

    @property
    def weights(self) -> dict[str, keras.Variable]:
        """The folded model's variables by names that are unique: `weight_0`, `weight_1`, …"""
        variables = [*self.model.trainable_variables, *self.model.non_trainable_variables]
        return {f"weight_{number}": variable for number, variable in enumerate(variables)}

    def signature(self, shape: tuple[int | None, ...] | None = None,
                  batch: int | None = None) -> list[tf.TensorSpec]:
        """The inputs of `function`.

        Args:
            shape: (height, width, channels) of the image; default `self.shape`.
            batch: number of images; None for any.
        """
        return [tf.TensorSpec((batch, *(shape or self.shape)), tf.float32, name=IMAGE),
                tf.TensorSpec((batch, 4), tf.float32, name=WINDOW)]

    def _meta(self, image: Tensor, window: Tensor) -> Tensor:
        """Image metas `[B, META]` with what the model reads of them: molded shape and window."""
        count = tf.shape(image)[0]
        sides = tf.cast(tf.shape(image)[1:4], tf.float32)
        parts = {"image_shape": tf.tile(sides[None], (count, 1)), "window": window}
        columns = []
        for name, place in META_PLACES.items():
            size = (place.stop or self.config.NUM_CLASSES + place.start) - place.start \
                if isinstance(place, slice) else 1
            columns.append(parts.get(name, tf.zeros((count, size))))
        return tf.concat(columns, axis=1)
