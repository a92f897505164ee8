"""Methods of the reference's MaskRCNN that are only kept so that its scripts work."""

import os
from typing import Any, NoReturn

import keras

from frcnn.errors import LeftOutError
from frcnn.weights import checkpoint


class ReferenceMethods:
    """Methods of `MaskRCNN` under the reference's names; see there for the attributes."""

    keras_model: keras.Model

    def save_weights(self, filepath: str | os.PathLike[str]) -> None:
        """Writes the weights in the reference's file layout, without a configuration beside them.

        Args:
            filepath: the `.h5` file; its folder is made if missing.

        Raises:
            CheckpointError: the file cannot be written.
        """
        checkpoint.save_weights(self.keras_model, filepath)

    def find_trainable_layer(self, layer: Any) -> Any:
        """The layer itself, or the one that wrappers such as `TimeDistributed` hold."""
        while isinstance(layer, keras.layers.Wrapper):
            layer = layer.layer
        return layer

    def ancestor(self, tensor: Any, name: str, checked: Any = None) -> NoReturn:
        """Raises LeftOutError: Keras 3 has no graph of named operations to search in."""
        raise LeftOutError(
            "ancestor searched TensorFlow 1's graph, which Keras 3 does not have. Write the output "
            "of a layer, model.keras_model.get_layer('rpn_class').output, wherever run_graph needs "
            "a tensor; what happens inside of ROI and mrcnn_detection is returned by "
            "frcnn.model.proposal_steps and frcnn.model.detection_steps "
            "(notebooks/inspect_model.ipynb shows both).")
