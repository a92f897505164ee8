"""Where `frcnn count` gets detections from: it detects, or reads what `frcnn detect` wrote."""

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from frcnn.cli import options as opts
from frcnn.cli import outputs, ranges, results, starts, tiles
from frcnn.cli.count_results import ResultFile
from frcnn.cli.count_source import Source, calibration_of, check_scale, no_detection
from frcnn.cli.detecting import FileDetection
from frcnn.cli.detection_progress import Progress
from frcnn.cli.settings import detection_config
from frcnn.config import Config
from frcnn.data.slides import is_slide, microns_per_pixel
from frcnn.errors import ArgumentError, ImageError
from frcnn.evaluate.calibration_file import score_settings
from frcnn.evaluate.sample_counts import CountedImage, Scale
from frcnn.files import expanded, sha256_of
from frcnn.shards.store import MANIFEST, Store, unfinished


def source_of(options: argparse.Namespace, prog: str) -> Source:
    """What the inputs are: images, a file of results, or a folder of shards."""
    if len(options.inputs) == 1:
        path = expanded(options.inputs[0])
        if path.is_dir() and (path / MANIFEST).is_file():
            return Shards(options, prog)
        if path.suffix.lower() == ".json":
            return ResultFile(options, prog)
    if any(text.lower().endswith(".json") for text in options.inputs):
        raise ArgumentError("A file of results is counted alone; give one INPUT.")
    if options.images:
        raise ArgumentError("--images is for a file of results; name the images as INPUT.")
    return Images(options, prog)


class Images(Source):
    """A Source that detects. See Source for the attributes."""

    def __init__(self, options: argparse.Namespace, prog: str) -> None:
        self.options, self.prog = options, prog
        self.tiling = tiles.tiling_of(options, "--read-")
        self.paths = results.find_images(options.inputs)
        self.names = [str(path) for path in self.paths]
        self.start = starts.trained_of(options)
        assert self.start.path is not None
        assert self.start.config is not None
        self.class_names = starts.class_names(self.start)
        config = ranges.for_detection(
            detection_config(self.start, options, **opts.min_confidence(options)), options,
            self.paths)
        self.score_limit = config.DETECTION_MIN_CONFIDENCE
        self.advice = f"frcnn count --calibrate DATA --model {self.start.path}"
        self.calibration = calibration_of(options, self.start.path)
        least = self.score_limit
        if self.calibration is not None:
            path, calibration = self.calibration
            about = score_settings(config)
            if self.tiling:
                about.update(tiles.describe(self.tiling, options))
            calibration.check_belongs(path, self.start.path, sha256_of(self.start.path), about)
            least = min(least, calibration.min_score)
        self.config = config.replaced(DETECTION_MIN_CONFIDENCE=least)
        self.min_score = self.config.DETECTION_MIN_CONFIDENCE
        self.files = [*self.paths, *outputs.files_of(self.start, options.config)]
        self.progress = Progress(len(self.paths), prog)
        self.full = 0

    def read(self, scale: Scale, output: Path) -> Iterator[CountedImage]:
        """See Source; with tiles, a journal beside the output keeps what is done."""
        known = self._resolutions(scale)
        with contextlib.closing(FileDetection(self.start, self.config, self.options, self.tiling,
                                              output, self.progress)) as detection:
            for path, _, result in detection.run(self.paths):
                size = self.progress.sizes.pop(path)
                self._watch(result["scores"], self.config)
                yield CountedImage(str(path), result["class_ids"], result["scores"],
                                   scale.area(size, known.get(path)))

    def _resolutions(self, scale: Scale) -> dict[Path, float]:
        """Those that the files of slides state, where they are needed."""
        if scale.mpp is not None:
            return {}
        known, without = {}, []
        for path in self.paths:
            try:
                value = microns_per_pixel(path) if is_slide(path) else None
            except ImageError:  # detection, which reads it next, reports it and goes on
                continue
            if value is None:
                without.append(str(path))
            else:
                known[path] = value
        check_scale(scale, without)
        return known

    def _watch(self, scores: Any, config: Config) -> None:
        """Notes an image that may have more objects than are detected."""
        if not self.tiling and np.count_nonzero(
                np.asarray(scores) >= self.score_limit) >= config.DETECTION_MAX_INSTANCES:
            self.full += 1

    def finish(self) -> int:
        """See Source."""
        if self.full:
            self.progress.say(
                f"{self.full} images have as many detections as DETECTION_MAX_INSTANCES allows "
                f"({self.config.DETECTION_MAX_INSTANCES}), and may have more objects; raise it in "
                "a file for --config, and calibrate with that.")
        return self.progress.finish()


class Shards(Source):
    """A Source that reads the folder of `frcnn detect --output FOLDER/`."""

    def __init__(self, options: argparse.Namespace, prog: str) -> None:
        no_detection(options)
        self.prog = prog
        self.store = Store(options.inputs[0])
        manifest = self.store.manifest()
        self.shards = self.store.shards()
        self.class_names = list(manifest["class_names"])
        config = Config.from_json(manifest["configuration"], {"BACKBONE", "COMPUTE_BACKBONE_SHAPE"}
                                  if options.trust else False)
        self.min_score = config.DETECTION_MIN_CONFIDENCE
        self.score_limit = self.min_score if options.min_confidence is None \
            else options.min_confidence
        if self.score_limit < self.min_score:
            raise ArgumentError(f"--min-confidence {self.score_limit:g}: {options.inputs[0]} has "
                                f"no detections below {self.min_score:g}; give that or more.")
        self.advice = "frcnn count --calibrate DATA and --model with the weights of the detections"
        self.calibration = calibration_of(options, options.model and expanded(options.model))
        if self.calibration is not None:
            path, calibration = self.calibration
            calibration.check_belongs(path, None, manifest["checkpoint"],
                                      {**score_settings(config), **manifest})
        done = [shard for shard in self.shards if shard.is_finished]
        self.names = [item.path for shard in done for item in shard.items]
        self.files = [shard.path for shard in done]
        self.errors = 0

    def read(self, scale: Scale, output: Path) -> Iterator[CountedImage]:
        """See Source."""
        check_scale(scale, self.names)
        for row in self.store.rows():
            if row["error"] is not None:
                self.errors += 1
                continue
            yield CountedImage(row["path"], np.array(row["class_ids"], int),
                               np.array(row["scores"], float),
                               scale.area((row["height"], row["width"])))

    def finish(self) -> int:
        """See Source."""
        missing = len(unfinished(self.shards))
        if missing:
            print(f"{self.prog}: {missing} of {len(self.shards)} shards are missing; frcnn detect "
                  "--resume makes them.")
        if self.errors:
            print(f"{self.prog}: {self.errors} images could not be read; the column 'error' of "
                  "their shards says why.")
        return int(bool(missing or self.errors))
