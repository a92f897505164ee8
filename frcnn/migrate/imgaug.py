"""imgaug's augmenters, which fail with NumPy 2, become the preset that is most like them."""

import ast
from collections.abc import Iterator

from frcnn.data.augment_foreign import preset_like
from frcnn.migrate.source import Source, last_of, root_of


def change_imgaug(source: Source) -> None:
    """Augmenters that are only passed as `augmentation=`, by names and in parts, become a preset.

    Others are reported, once for a statement.
    """
    imports = [(node, _imgaug_names(node)) for node in ast.walk(source.tree)
               if isinstance(node, (ast.Import, ast.ImportFrom)) and _imgaug_names(node)]
    names = {alias.asname or alias.name.split(".")[0]
             for _, aliases in imports for alias in aliases}
    if not names:
        return
    changed = _Augmentations(source, names).change()
    left = [node for node in ast.walk(source.tree) if isinstance(node, ast.Name)
            and node.id in names and node not in changed and isinstance(node.ctx, ast.Load)]
    for statement in {source.statement(name): None for name in left}:
        source.note(statement, "imgaug fails with NumPy 2: augmentation takes a preset (\"flip\", "
                    '"flips", "microscopy"), Keras layers, transforms of Albumentations, or a '
                    "function", by_hand=True)
    for node, aliases in imports if not left else ():
        if len(aliases) == len(node.names):
            source.remove_statement(node)
        else:
            source.remove_from(list(node.names), list(aliases))
        source.note(node, "removed: imgaug fails with NumPy 2")


def _imgaug_names(node: ast.Import | ast.ImportFrom) -> list[ast.alias]:
    """What an import has of imgaug."""
    if isinstance(node, ast.ImportFrom):
        return list(node.names) if (node.module or "").split(".")[0] == "imgaug" else []
    return [alias for alias in node.names if alias.name.split(".")[0] == "imgaug"]


class _Augmentations:
    """The augmenters that only `augmentation=` takes.

    Args:
        source: the script.
        names: those that imports of imgaug bind.
    """

    def __init__(self, source: Source, names: set[str]) -> None:
        self.source, self.names = source, names
        self._parts: dict[str, ast.Assign] = {}  # name = augmenter
        self._uses: dict[str, list[ast.Name]] = {}
        nodes = list(ast.walk(source.tree))
        bound: dict[str, int] = {}
        for node in nodes:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                self._uses.setdefault(node.id, []).append(node)
            elif isinstance(node, ast.Name):
                bound[node.id] = bound.get(node.id, 0) + 1
            if isinstance(node, ast.Assign) and len(node.targets) == 1 \
                    and isinstance(node.targets[0], ast.Name) and self._is_augmenter(node.value):
                self._parts[node.targets[0].id] = node
        self._parts = {name: node for name, node in self._parts.items()
                       if bound[name] == 1 or self._are_passed(name)}

    def change(self) -> set[ast.AST]:
        """Replaces them, and removes the assignments of their parts; returns what is gone."""
        whole = [node.value for node in ast.walk(self.source.tree)
                 if isinstance(node, ast.keyword) and node.arg == "augmentation"
                 and self._is_augmenter(node.value)]
        whole += [node.value for node in ast.walk(self.source.tree)
                  if isinstance(node, ast.Assign) and len(node.targets) == 1
                  and isinstance(node.targets[0], ast.Name) and self._is_augmenter(node.value)
                  and self._are_passed(node.targets[0].id)]
        gone = {inner for call in whole for inner in ast.walk(call)}
        parts = self._parts_inside(gone)
        for call in whole:
            preset = preset_like(self._augmenters(call))
            self.source.replace(call, f'"{preset}"')
            self.source.note(call, f'the preset "{preset}" for imgaug\'s augmenters; Keras layers '
                             'with bounding_box_format="xyxy" do more of them '
                             "(frcnn.data.augment)")
        for statement in parts:
            self.source.remove_statement(statement)
            self.source.note(statement, "removed: a part of imgaug's augmenters")
        return gone

    def _parts_inside(self, gone: set[ast.AST]) -> list[ast.Assign]:
        """Assignments of names that are used in what is gone alone; adds them to it."""
        found: list[ast.Assign] = []
        while more := [statement for name, statement in self._parts.items()
                       if statement not in found and self._uses.get(name)
                       and all(use in gone for use in self._uses[name])]:
            found += more
            gone |= {inner for statement in more for inner in ast.walk(statement)}
        return found

    def _is_augmenter(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Call) and root_of(node.func) in self.names

    def _are_passed(self, name: str) -> bool:
        """Whether `augmentation=name` is all that is done with a name."""
        return all(isinstance(parent := self.source.parent(use), ast.keyword)
                   and parent.arg == "augmentation" for use in self._uses.get(name, []))

    def _augmenters(self, call: ast.expr) -> Iterator[str]:
        """The names of the augmenters in a call, and in the parts that it names."""
        for node in ast.walk(call):
            if isinstance(node, ast.Call) and self._is_augmenter(node):
                yield last_of(node.func)
            elif isinstance(node, ast.Name) and node.id in self._parts:
                yield from self._augmenters(self._parts[node.id].value)
