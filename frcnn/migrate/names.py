"""The names that frcnn has under the reference's modules, without importing Keras."""

import ast
import functools
from importlib.util import find_spec
from pathlib import Path

# What has another counterpart than a function of the same name.
BY_HAND = {
    "ParallelModel": "ParallelModel is not here: leave it out; GPU_COUNT is only a factor of the "
                     "batch size",
    "unmold_detections": "unmold_detections takes (detections, original_image_shape, image_shape, "
                         "window), without mrcnn_mask, and returns boxes, class_ids, scores",
}


@functools.cache
def known_names(module: str) -> frozenset[str]:
    """What a script can import from a module of frcnn, or, for "", from frcnn.

    Args:
        module: "config", "model", "parallel_model", "utils", "visualize" or "".
    """
    if module == "":
        return frozenset(("config", "model", "parallel_model", "utils", "visualize", "Config",
                          "CocoDataset", "Dataset", "MaskRCNN", "VocDataset"))
    spec = find_spec("frcnn")
    assert spec is not None and spec.origin is not None
    base = Path(spec.origin).parent / module
    path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    return frozenset(_defined(ast.parse(path.read_text("utf-8"))))


def _defined(tree: ast.Module) -> set[str]:
    """The names that the statements of a module bind, and those that it lists in `__all__`."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
            if any(isinstance(target, ast.Name) and target.id == "__all__"
                   for target in node.targets):
                names |= set(ast.literal_eval(node.value))
    return names
