"""A whole script: all changes to it, and what is to be changed by hand."""

from dataclasses import dataclass
from pathlib import Path

from frcnn.migrate.calls import change_calls
from frcnn.migrate.coco_sample import change_coco_sample
from frcnn.migrate.imgaug import change_imgaug
from frcnn.migrate.imports import change_imports, own_modules
from frcnn.migrate.keras_names import change_keras_names
from frcnn.migrate.log_folders import report_log_folders
from frcnn.migrate.losses import change_losses
from frcnn.migrate.masks import MaskChanges
from frcnn.migrate.molding import change_molding
from frcnn.migrate.neighbours import report_neighbours
from frcnn.migrate.scope import read_scope
from frcnn.migrate.source import Finding, Source
from frcnn.migrate.surroundings import change_surroundings


@dataclass(frozen=True)
class Migrated:
    """A changed text.

    Attributes:
        text: of the script or notebook.
        findings: by line.
    """

    text: str
    findings: list[Finding]


def migrate_script(text: str, folder: Path | None = None, alone: bool = True) -> Migrated:
    """Changes a script of the reference; one that does not import it stays as it is.

    Args:
        text: Python.
        folder: where the script is, to tell the user's own modules from the reference's.
        alone: whether it is changed without the scripts beside it.

    Raises:
        MigrationError: it is not Python 3.
    """
    source = Source(text)
    scope = read_scope(source, folder)
    if scope.is_empty:
        return Migrated(text, [])
    change_imports(source, scope, own_modules(folder))
    MaskChanges(source, scope).change()
    change_losses(source)
    change_molding(source, scope)
    change_coco_sample(source, folder)
    change_calls(source)
    change_surroundings(source)
    change_imgaug(source)
    change_keras_names(source)
    report_log_folders(source)
    report_neighbours(source, folder, alone)
    return Migrated(source.result(), sorted(source.findings))
