"""The export of a MaskRCNN to other engines."""

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from frcnn import runs
from frcnn.arrays import Image
from frcnn.config import Config
from frcnn.errors import ArgumentError, CheckpointError
from frcnn.files import expanded
from frcnn.model.class_names import HEAD_LAYER
from frcnn.model.inspection import Mode
from frcnn.weights.checkpoint import LoadReport

if TYPE_CHECKING:  # loads TensorFlow's converters
    from frcnn.export import Calibration, Exported


@dataclass(frozen=True)
class Origin:
    """Where a model's weights are from, as an exported file says it.

    Attributes:
        source_class_ids: of the JSON beside the checkpoint whose head was loaded, by class id;
            empty if unknown.
        checkpoint: path of the checkpoint that all weights are from; None without one.
        stamp: time and size of that file when it was loaded: it may be another one by now.
    """

    source_class_ids: tuple[Any, ...] = ()
    checkpoint: Path | None = None
    stamp: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, path: str | os.PathLike[str], report: LoadReport) -> "Origin":
        """The Origin of weights that were loaded from a checkpoint.

        Args:
            path: of the checkpoint.
            report: which layers were loaded.
        """
        ids: tuple[Any, ...] = ()
        if HEAD_LAYER in report.loaded:
            # Weights alone can be loaded, too.
            with contextlib.suppress(CheckpointError, FileNotFoundError):
                ids = tuple(runs.load_metadata(path).source_class_ids)
        if report.excluded or report.missing:
            return cls(ids)
        return cls(ids, Path(os.path.abspath(expanded(path))), _stamp(expanded(path)))

    def unchanged_checkpoint(self) -> Path | None:
        """The checkpoint; None where its file has been replaced or deleted since."""
        if self.checkpoint is None or not self.checkpoint.is_file() \
                or _stamp(self.checkpoint) != self.stamp:
            return None
        return self.checkpoint


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


class Exporting:
    """The method of `MaskRCNN` that writes it for another engine.

    Attributes:
        mode, config, keras_model, class_names: see `MaskRCNN`.
    """

    _origin = Origin()

    mode: Mode
    config: Config
    keras_model: keras.Model
    class_names: list[str] | None

    def export(self, path: str | os.PathLike[str], format: str, *,
               class_names: Sequence[str] | None = None,
               source_class_ids: Sequence[Any] | None = None,
               shape: tuple[int, int] | None = None, image_in_graph: bool = False,
               calibration: "Calibration | None" = None, images: Sequence[Image] | None = None,
               say: Callable[[str], None] = lambda text: None) -> "Exported":
        """Writes this detector for another engine, and verifies that it detects the same there.

        Args:
            path, format, shape, image_in_graph, calibration, images, say: see
                `frcnn.export.export`.
            class_names: by class id, the background's first; None for those of the loaded
                checkpoint.
            source_class_ids: the training data's own category ids; None for those of the loaded
                checkpoint, empty for none.

        Raises:
            ArgumentError, ExportError, BackendError, OutputError: see `frcnn.export.export`.
        """
        from frcnn.export import export

        if self.mode != "inference":
            raise ArgumentError('export needs a model built with mode="inference".')
        names = class_names or self.class_names
        if names is None:
            raise ArgumentError("The names of the classes are not known, since no checkpoint with "
                                "a JSON beside it was loaded: pass class_names, the background's "
                                "first.")
        ids = self._origin.source_class_ids if source_class_ids is None else source_class_ids
        return export(self.keras_model, self.config, format, path, class_names=names,
                      source_class_ids=ids, shape=shape, image_in_graph=image_in_graph,
                      calibration=calibration, images=images, say=say,
                      checkpoint=self._origin.unchanged_checkpoint())
