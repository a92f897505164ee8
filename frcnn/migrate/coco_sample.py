"""The reference's sample coco.py, from which demonstrations take their settings."""

import ast
from pathlib import Path

from frcnn.migrate.source import Source

_BY_HAND = ("coco.py is a sample of the reference: derive your settings from frcnn.config.Config, "
            'with NAME = "coco" and NUM_CLASSES = 81, and load data in COCO\'s layout with '
            "frcnn.data.CocoDataset.from_folder(folder, subset)")
_SETTINGS = {"NAME": '"coco"', "NUM_CLASSES": "81"}


def change_coco_sample(source: Source, folder: Path | None) -> None:
    """A class that is derived from `coco.CocoConfig` alone gets its settings; rest by hand.

    Args:
        source: the script.
        folder: where it is; a coco.py beside it that is not the reference's is the user's own.
    """
    own = folder / "coco.py" if folder is not None else None
    imports = [node for node in ast.walk(source.tree) if _imports_coco(node)]
    if not imports or (own is not None and own.is_file() and "CocoConfig" not in own.read_text(
            "utf-8", "replace")):
        return
    uses = [node for node in ast.walk(source.tree) if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name) and node.value.id == "coco"]
    classes = [(node, base) for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef)
               for base in node.bases if base in uses and ast.unparse(base) == "coco.CocoConfig"]
    if len(classes) < len(uses):
        for use in [*imports, *uses]:
            source.note(use, _BY_HAND, by_hand=True)
        return
    for node in imports:
        source.replace(node, "from frcnn.config import Config")
        source.note(node, "imports frcnn.config, for the settings of the sample coco.py")
    for class_, base in classes:
        source.replace(base, "Config")
        own_names = {target.id for statement in class_.body if isinstance(statement, ast.Assign)
                     for target in statement.targets if isinstance(target, ast.Name)}
        first = class_.body[0]
        start = source.start(first)
        indent = " " * first.col_offset
        source.replace_range(start, start, "".join(
            f"{name} = {value}\n{indent}" for name, value in _SETTINGS.items()
            if name not in own_names))
        source.note(base, "a class of settings with those of the sample coco.py")


def _imports_coco(node: ast.AST) -> bool:
    """Whether it is `import coco` or `from samples.coco import coco`."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names] in (["coco"], ["samples.coco.coco"])
    return isinstance(node, ast.ImportFrom) and [alias.name for alias in node.names] == ["coco"] \
        and (node.module or "").split(".")[-1] in ("samples", "coco")
