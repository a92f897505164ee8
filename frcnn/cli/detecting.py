"""Detection in files, whole or in tiles, as programs do it: what is no image is reported."""

import argparse
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from frcnn.arrays import Image
from frcnn.cli import tiles
from frcnn.cli.detection_progress import Progress
from frcnn.cli.program import explain, one_line, shows_progress
from frcnn.cli.results import Artist, Detections, Preview
from frcnn.cli.starts import Start
from frcnn.config import Config
from frcnn.data.image_io import read_image
from frcnn.data.intensity import Intensity
from frcnn.inference.tiled import Tiling
from frcnn.runtime.detector import Detector

if TYPE_CHECKING:  # loads Keras
    from frcnn.model.mask_rcnn import MaskRCNN


class FileDetection:
    """Loads the network and detects in files.

    With tiles, a journal beside the output keeps those that are done.

    Args:
        start: the weights.
        config: of the detection.
        options: of the program: `add_checkpoint_options`, those of `tiles`.
        tiling: how images are cut; None to detect in whole images.
        output: the file that the program writes; the journal is named after it.
        progress: of the program; it gets the images' sizes.

    Attributes:
        finished: whether all files are done.

    Raises:
        OutputError: the journal beside the output is of another call.
        CheckpointError, ExportError: the weights cannot be loaded. No new journal is left.
    """

    def __init__(self, start: Start, config: Config, options: argparse.Namespace,
                 tiling: Tiling | None, output: Path, progress: Progress) -> None:
        assert start.path is not None
        self.options, self.tiling, self.progress = options, tiling, progress
        self.finished = False
        self._journal = tiles.open_journal(output, start.path, config, tiling, options) \
            if tiling else None
        print(f"weights       {start.path}", flush=True)
        try:
            self._model = _model_of(start, config, options.logs)
        except BaseException:
            self.close()
            raise

    def run(self, paths: Sequence[Path], artist: Artist | None = None
            ) -> Iterator[tuple[Path, Preview | None, Detections]]:
        """Yields (path, preview, result) of each file that is an image.

        The preview is None without an artist.
        """
        if self.tiling and self._journal:
            found = tiles.TiledImages(self._model, self.tiling, self._journal, self.options,
                                      self.progress).run(paths, artist)
        else:
            found = _whole_images(self._model, paths, self.progress, self.options.batch_size,
                                  artist)
        for path, preview, result in found:
            if isinstance(result, Exception):
                self.progress.skipped += 1
                self.progress.sizes.pop(path, None)
                self.progress.say(f"skipped: {explain(result) or one_line(result)}")
            else:
                yield path, preview, result
        self.finished = True

    def close(self) -> None:
        """Removes the journal if all files are done or it has none, else says how to go on.

        To be called once the output is written.
        """
        if self._journal is None:
            return
        if self.finished or not self._journal.count:
            self._journal.finish()
        else:
            self._journal.close()
            self.progress.say(f"finished tiles are kept in {self._journal.path}; the same command "
                              "goes on there.")


def _model_of(start: Start, config: Config, logs: str) -> "MaskRCNN | Detector":
    """The detector; that of an exported file without what only Keras and reports need."""
    assert start.path is not None
    if start.is_exported:
        return Detector.configured(start.path, config)

    from frcnn.cli.run_report import inference_model

    return inference_model(start.path, config, logs)


def _whole_images(model: "MaskRCNN | Detector", paths: Sequence[Path], progress: Progress,
                  batch_size: int | None, artist: Artist | None,
                  ) -> Iterator[tuple[Path, Preview | None, Detections | Exception]]:
    """Yields (path, preview, result or error) of each file."""
    from tqdm import tqdm

    kept: dict[Path, Preview] = {}
    intensity = Intensity(model.config.IMAGE_INTENSITY_RANGE)

    def read(path: Path) -> Image:  # in a thread, while the network computes
        image = read_image(path, model.config.IMAGE_CHANNEL_COUNT, intensity)
        progress.sizes[path] = image.shape[:2]
        if artist is not None:
            kept[path] = artist.preview(image)
        return image

    results = model.detect_stream((functools.partial(read, path) for path in paths),
                                  batch_size=batch_size, return_exceptions=True)
    with tqdm(total=len(paths), desc="detect", unit="image",
              disable=not shows_progress()) as progress.bar:
        for path, result in zip(paths, results, strict=True):
            yield path, kept.pop(path, None), result
            progress.bar.update()
    progress.bar = None
