"""Builds the API reference from the docstrings: `python docs/build.py FOLDER`.

pdoc renders them; anything that it warns about fails the build. The first page is
FOLDER/index.html; `pip install -e ".[docs]"` installs what is needed.
"""

import argparse
import importlib
import pkgutil
import sys
import types
import warnings
from pathlib import Path

import pdoc

PROJECT = Path(__file__).resolve().parents[1]
COLLECTIONS = ("frcnn.model",)  # all that they import is for users


def build(folder: Path) -> list[str]:
    """Renders every module of the package into HTML pages.

    Args:
        folder: where the pages go; it is made if missing.

    Returns:
        The warnings, one text each, in the order in which they came.
    """
    arrays = importlib.import_module("frcnn.arrays")
    aliases = {name: value for name, value in vars(arrays).items()
               if name in arrays.__all__ and value.__module__ != arrays.__name__}
    # An annotation that was evaluated has lost the names of its aliases. While the other modules
    # are imported, classes of these names replace them; signatures then link to the definitions.
    vars(arrays).update({name: type(name, (), {"__module__": arrays.__name__}) for name in aliases})
    _open(importlib.import_module("frcnn"))
    vars(arrays).update(aliases)
    pdoc.render.configure(docformat="google", show_source=True, footer_text=_version())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pdoc.pdoc("frcnn", output_directory=folder)
    # Deprecations inside other packages are theirs; pdoc warns with UserWarning and RuntimeWarning.
    return [str(warning.message) for warning in caught
            if issubclass(warning.category, (UserWarning, RuntimeWarning))]


def _open(module: types.ModuleType) -> None:
    """Lets pdoc see all of a module and of those below it.

    pdoc looks into `__all__` alone where there is one: names that are imported when they are first
    used have to be there already, and the modules of a package have to be listed.
    """
    if module.__name__ in COLLECTIONS:
        vars(module)["__all__"] = [
            name for name, value in vars(module).items()
            if callable(value) and value.__module__.startswith("frcnn.")
            and value.__module__ != "frcnn.startup"]
    public = getattr(module, "__all__", None)
    if public is not None:
        vars(module).update({name: getattr(module, name) for name in public})
    for info in pkgutil.iter_modules(getattr(module, "__path__", ())):
        if not info.name.startswith("_"):
            _open(importlib.import_module(f"{module.__name__}.{info.name}"))
            if public is not None and info.name not in public:
                public.append(info.name)


def _version() -> str:
    import frcnn

    return f"frcnn {frcnn.__version__}"


def main(argv: list[str] | None = None) -> int:
    """Builds, and returns the exit code: 1 if there was a warning."""
    parser = argparse.ArgumentParser(description="Builds the API reference.")
    parser.add_argument("folder", type=Path, help="where to write the HTML pages")
    folder = parser.parse_args(argv).folder
    messages = build(folder)
    for message in messages:
        print(f"warning: {message}", file=sys.stderr)
    print(f"{len(list(folder.rglob('*.html')))} pages, {len(messages)} warnings: "
          f"{folder / 'index.html'}")
    return int(bool(messages))


if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT))
    sys.exit(main())
