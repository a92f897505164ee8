"""Imports of Keras 2 whose modules are elsewhere in Keras 3, or are no longer there."""

import ast
import re

from frcnn.migrate.source import Source

# Modules of Keras 2, without "keras." or "tensorflow.keras.", and where Keras 3 has their names.
_MODULES = {
    **dict.fromkeys(("utils.np_utils", "utils.vis_utils", "utils.data_utils",
                     "utils.generic_utils", "utils.layer_utils", "utils.io_utils"), "utils"),
    **dict.fromkeys(("layers.core", "layers.convolutional", "layers.pooling", "layers.merge",
                     "layers.normalization", "layers.advanced_activations", "layers.recurrent",
                     "layers.embeddings", "layers.wrappers", "layers.noise", "engine.topology",
                     "engine.base_layer"), "layers"),
    "callbacks.callbacks": "callbacks", "engine.training": "models",
}
# Names that TensorFlow still has, and those that nothing has.
_IN_TENSORFLOW = {"ImageDataGenerator": "tensorflow.keras.preprocessing.image"}
_GONE = {"multi_gpu_model": "Keras 3 has no multi_gpu_model: leave it out; frcnn trains on several "
                            "devices with the JAX backend"}
_KERAS = re.compile(r"^(?:tensorflow\.(?:python\.)?)?keras\.")


def change_keras_names(source: Source) -> None:
    """Changes the imports `from keras.MODULE import …`; imports of such a module are reported."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level \
                and (prefix := _KERAS.match(node.module)):
            _change_import_from(source, node, prefix[0])
        elif isinstance(node, ast.Import):
            for alias in node.names:
                prefix = _KERAS.match(alias.name)
                moved = _MODULES.get(alias.name[prefix.end():]) if prefix else None
                if moved:
                    source.note(node, f"Keras 3 has no {alias.name}: its names are in "
                                f"keras.{moved}", by_hand=True)


def _change_import_from(source: Source, node: ast.ImportFrom, prefix: str) -> None:
    assert node.module is not None
    names = {alias.name for alias in node.names}
    for name in names & _GONE.keys():
        source.note(node, _GONE[name], by_hand=True)
    moved = _MODULES.get(node.module[len(prefix):])
    if moved:
        _replace_module(source, node, f"keras.{moved}")
    elif names & _IN_TENSORFLOW.keys() and not prefix.startswith("tensorflow"):
        (name, *_) = names & _IN_TENSORFLOW.keys()
        # the other names of this module are there, too
        _replace_module(source, node, _IN_TENSORFLOW[name])


def _replace_module(source: Source, node: ast.ImportFrom, module: str) -> None:
    assert node.module is not None
    start = source.data.index(node.module.encode(), source.start(node) + len("from"))
    source.replace_range(start, start + len(node.module.encode()), module)
    source.note(node, f"imports {module}, since Keras 3 has no such names in {node.module}")
