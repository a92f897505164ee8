"""Which names of a script are modules, classes and functions of the reference."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from frcnn.migrate.source import Source

MODULES = ("config", "model", "parallel_model", "utils", "visualize")
_MARK = re.compile(r"Mask R-CNN|Matterport")


@dataclass
class Scope:
    """The names that a script's imports bind.

    Attributes:
        is_early: whether it imports the modules of 2017, which were in no package.
        forks: packages that hold the modules under another name than mrcnn.
        modules: local name → module of the reference; "" for the package.
        names: local name → (module, name in it).
        is_empty: whether nothing of the reference is imported.
    """

    is_early: bool = False
    forks: set[str] = field(default_factory=set)
    modules: dict[str, str] = field(default_factory=dict)
    names: dict[str, tuple[str, str]] = field(default_factory=dict)
    is_empty: bool = True

    def resolve(self, node: ast.expr) -> tuple[str, str] | None:
        """(module, name) of an expression such as `modellib.log`; None if it is not of these."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if isinstance(node, ast.Attribute):
            module = self.module_of(node.value)
            if module:
                return module, node.attr
        return None

    def module_of(self, node: ast.expr) -> str | None:
        """The module that an expression such as `mrcnn.model` stands for; "" for the package."""
        if isinstance(node, ast.Name):
            return self.modules.get(node.id)
        if isinstance(node, ast.Attribute) and node.attr in MODULES \
                and self.module_of(node.value) == "":
            return node.attr
        return None

    def alias(self, module: str) -> str | None:
        """A local name of a module, if there is one."""
        return next((name for name, other in self.modules.items() if other == module), None)


def reference_module(name: str | None, scope: Scope, own: set[str]) -> str | None:
    """The reference's module that an import names: "" for the package, None if it is another.

    Args:
        name: as in the import, such as "mrcnn.model", "Mask_RCNN.mrcnn.utils" or "model".
        scope: whether the modules of 2017 and those of forks count.
        own: modules of that name that are the user's own.
    """
    parts = (name or "").split(".")
    if "mrcnn" in parts:
        rest = parts[parts.index("mrcnn") + 1:]
        return ".".join(rest) if not rest or rest[0] in MODULES else None
    if scope.is_early and len(parts) == 1 and parts[0] in MODULES and parts[0] not in own:
        return parts[0]
    if len(parts) > 1 and parts[0] in scope.forks:
        return parts[-1] if parts[-1] in MODULES else ""
    return None


def read_scope(source: Source, folder: Path | None = None) -> Scope:
    """The scope of a script.

    Args:
        source: the script.
        folder: where it is; modules beside it that are not the reference's are the user's own.
    """
    own = own_modules(folder)
    scope = Scope(is_early(source.tree, own), set(_forks(source.tree)))
    for node in imports_of(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                module = reference_module(alias.name, scope, own)
                scope.is_empty &= module is None
                if module is not None and alias.asname:
                    scope.modules[alias.asname] = module
                elif module is not None and alias.name.startswith("mrcnn"):
                    scope.modules["mrcnn"] = ""
                elif module is not None and "." not in alias.name:
                    scope.modules[alias.name] = module
        else:
            _read_import_from(node, scope, own)
    return scope


def _read_import_from(node: ast.ImportFrom, scope: Scope, own: set[str]) -> None:
    module = imported_module(node, scope, own)
    parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
    scope.is_empty &= module is None and "mrcnn" not in parts
    for alias in node.names:
        local = alias.asname or alias.name
        if module is None:
            if alias.name == "mrcnn":  # from Mask_RCNN import mrcnn
                scope.modules[local] = ""
        elif module == "" and alias.name in MODULES:
            scope.modules[local] = alias.name
        elif module and alias.name != "*":
            scope.names[local] = module, alias.name


def imported_module(node: ast.ImportFrom, scope: Scope, own: set[str]) -> str | None:
    """As `reference_module`; of a fork's package only what is one of the modules."""
    module = reference_module(node.module, scope, own)
    parts = (node.module or "").split(".")
    if "mrcnn" in parts or parts[0] not in scope.forks:
        return module
    if all(alias.name in MODULES for alias in node.names):  # from fork.model import model
        return ""
    return module or None


def _forks(tree: ast.AST) -> Iterator[str]:
    """Packages from which something is imported as `modellib`, other than mrcnn."""
    for node in imports_of(tree):
        for alias in node.names:
            package = (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
            parts = package.split(".")
            if alias.asname == "modellib" and "mrcnn" not in parts and parts[0] not in (
                    "", "frcnn", *MODULES):
                yield parts[0]


def imports_of(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All import statements."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node


def own_modules(folder: Path | None) -> set[str]:
    """The modules beside a script that have a name of the reference's and are others."""
    found: set[str] = set()
    if folder is None:
        return found
    for name in MODULES:
        path = folder / f"{name}.py"
        if path.is_file() and not is_reference_file(path):
            found.add(name)
    return found


def is_reference_file(path: Path) -> bool:
    """Whether a file is a copy of one of the reference's own modules."""
    if path.stem not in MODULES:
        return False
    try:
        head = path.read_text("utf-8", "replace")[:2000]
    except OSError:
        return False
    return _MARK.search(head) is not None


def is_early(tree: ast.AST, own: set[str]) -> bool:
    """Whether a script imports the modules of 2017: `import model as modellib` and the like."""
    for node in imports_of(tree):
        if isinstance(node, ast.Import):
            if any(alias.name == "model" and alias.asname == "modellib" for alias in node.names):
                return "model" not in own
        elif node.module == "model" and any(alias.name in ("MaskRCNN", "log")
                                            for alias in node.names):
            return "model" not in own
        elif node.module == "config" and any(alias.name == "Config" for alias in node.names):
            settings = {"IMAGES_PER_GPU", "RPN_ANCHOR_SCALES", "GPU_COUNT"}
            if "config" not in own and any(isinstance(inner, ast.Name) and inner.id in settings
                                           for inner in ast.walk(tree)):
                return True
    return False
