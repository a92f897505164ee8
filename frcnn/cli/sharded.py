"""`frcnn detect --output FOLDER`: any number of images, on one machine or many, in shards."""

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frcnn import __version__
from frcnn.cli import options as opts
from frcnn.cli import ranges, starts, tiles
from frcnn.cli.program import Parser, shows_progress
from frcnn.cli.settings import detection_config
from frcnn.data.image_ids import ids_of_files
from frcnn.errors import ArgumentError
from frcnn.files import expanded, sha256_of
from frcnn.shards.inputs import Item, find_items, is_remote
from frcnn.shards.store import Shard, Store, unfinished
from frcnn.shards.worker import Done, Task

if TYPE_CHECKING:
    from frcnn.config import Config

IMAGES_PER_SHARD, SLIDES_PER_SHARD = 1000, 1
ENGINES = ("local", "ray")
_NEED_FOLDER = {"images_per_shard": None, "resume": False, "engine": None, "address": None,
                "workers": None, "gpus_per_worker": None}
_NEED_RAY = ("address", "workers", "gpus_per_worker")
_NEED_FILE = {"pictures": None}


def add_options(parser: Parser) -> None:
    """Adds the options for many images."""
    group = parser.add_argument_group(
        "many images", "With a folder as --output, the results are Parquet files there, one for "
        "each shard of the images. INPUT may then also be a .txt file with a path on each line, a "
        ".parquet table with the columns path and image_id, or an address such as s3://…; folders "
        "are searched with those in them. 'frcnn detections FOLDER --to FILE' converts.")
    group.add_argument("--images-per-shard", type=opts.positive_integer, metavar="N",
                       help=f"images in a shard (default: {IMAGES_PER_SHARD}; with --tile "
                            f"{SLIDES_PER_SHARD})")
    group.add_argument("--resume", action="store_true",
                       help="go on with what is finished in the folder")
    group.add_argument("--engine", choices=ENGINES,
                       help="who detects: this process ('local', default) or the workers of a "
                            "cluster ('ray')")
    group.add_argument("--address", metavar="ADDRESS",
                       help="of the Ray cluster, 'auto' for the one that this machine belongs to "
                            "(default: start Ray on this machine)")
    group.add_argument("--workers", type=opts.positive_integer, metavar="N",
                       help="detectors on the cluster (default: 1)")
    group.add_argument("--gpus-per-worker", type=float, metavar="X",
                       help="GPUs for each of them, such as 0.5 (default: 0)")


def is_folder(output: str) -> bool:
    """Whether an output is a folder of shards and not one file."""
    return output.endswith(("/", os.sep)) or expanded(output).is_dir() \
        or not Path(output).suffix


def check_file_options(options: argparse.Namespace) -> None:
    """Raises ArgumentError for an option that needs a folder as output."""
    for name, default in _NEED_FOLDER.items():
        if getattr(options, name) != default:
            raise ArgumentError(f"{_option(name)} is for results in a folder; name one with "
                                "--output, without an ending.")


def run(options: argparse.Namespace, prog: str) -> int:
    """Detects into a folder of shards; returns the exit code."""
    cluster, tiling = _checked(options), tiles.tiling_of(options)
    store = Store(options.output)
    store.check_place(resume=options.resume)
    items = _items(options)
    start = starts.trained_of(options)
    assert start.path is not None
    config = detection_config(start, options, **opts.min_confidence(options))
    paths = None if any(is_remote(item.path) for item in items) else [item.path for item in items]
    config = ranges.for_detection(config, options, paths)
    size = options.images_per_shard or (SLIDES_PER_SHARD if tiling else IMAGES_PER_SHARD)
    about = {**_about(start, config), **(tiles.describe(tiling, options) if tiling else {})}
    shards = store.begin(items, size, about, resume=options.resume)
    task = Task(os.path.abspath(store.folder), os.path.abspath(start.path), config.to_json(),
                options.batch_size, options.trust, tiling, options.level, options.mpp)
    print(f"weights       {start.path}", flush=True)
    code = _Run(store, shards, prog).detect(task, cluster)
    return max(code, _tell_added(store, len(items), prog))


def _tell_added(store: Store, given: int, prog: str) -> int:
    """Says which images have been added since the detection began; 1 if there are any, else 0."""
    if store.added:
        print(f"{prog}: {len(store.added)} of the {given} images, such as {store.added[0].path}, "
              f"are not among those that {store.folder} was begun with, and were left out; give "
              "them and another folder as --output.", flush=True)
    return int(bool(store.added))


def _checked(options: argparse.Namespace) -> "dict[str, Any] | None":
    """The options of the cluster, None for the local engine."""
    for name, default in _NEED_FILE.items():
        if getattr(options, name) != default:
            raise ArgumentError(f"{_option(name)} is for results in one file; name one that ends "
                                "in .json or the like.")
    if options.engine == "ray":
        return {"address": options.address, "workers": options.workers or 1,
                "gpus_per_worker": options.gpus_per_worker or 0.0}
    for name in _NEED_RAY:
        if getattr(options, name) is not None:
            raise ArgumentError(f"{_option(name)} is for a cluster; give --engine ray, too.")
    return None


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _items(options: argparse.Namespace) -> list[Item]:
    items = find_items(options.inputs)
    if options.annotations is None:
        return items
    ids = ids_of_files([Path(item.path) for item in items], expanded(options.annotations))
    return [Item(item.path, ids[Path(item.path)]) for item in items]


def _about(start: starts.Start, config: "Config") -> dict[str, Any]:
    """What the results depend on."""
    assert start.path is not None
    return {"checkpoint": sha256_of(start.path), "configuration": config.to_json(),
            "class_names": list(starts.class_names(start)),
            "category_ids": list(starts.category_ids(start)),
            "versions": {"frcnn": __version__}, "created": time.strftime("%Y-%m-%dT%H:%M:%S%z")}


class _Run:
    """Does the shards that are left, and prints what became of them."""

    def __init__(self, store: Store, shards: Sequence[Shard], prog: str) -> None:
        self.store, self.shards, self.prog = store, shards, prog
        self.left = unfinished(shards)
        self.images = self.objects = self.errors = 0

    def detect(self, task: Task, cluster: dict[str, Any] | None) -> int:
        """Does them, here or on a cluster; returns the program's exit code.

        It is that of all shards, whether this call or an earlier one has done them.
        """
        finished = len(self.shards) - len(self.left)
        if finished:
            print(f"finished      {finished} of {len(self.shards)} shards, in {self.store.folder}")
        done_before = sum(self._tell_errors(shard, self.store.errors(shard))
                          for shard in self.shards if shard.is_finished)
        if not self.left:
            return int(done_before > 0)
        try:
            for shard, done in self._results(task, cluster):
                self.images += done.images
                self.objects += done.objects
                self.errors += done.errors
                self._tell_errors(shard, done.errors)
        finally:
            left = len(unfinished(self.shards))
            print(f"{self.objects} objects in {self.images - self.errors} images, in "
                  f"{self.store.folder}: {len(self.shards) - left} of {len(self.shards)} shards"
                  + "; --resume goes on." * (left > 0), flush=True)
        return int(self.errors + done_before > 0)

    def _tell_errors(self, shard: Shard, count: int) -> int:
        """Says how many images of a shard could not be read; returns the number."""
        if count:
            print(f"{self.prog}: {count} images of {shard.path.name} could not be read; its column "
                  "'error' says why.", flush=True)
        return count

    def _results(self, task: Task, cluster: dict[str, Any] | None
                 ) -> Iterator[tuple[Shard, Done]]:
        from tqdm import tqdm

        total = sum(len(shard.items) for shard in self.left)
        with tqdm(total=total, desc="detect", unit="image", disable=not shows_progress()) as bar:
            if cluster is None:
                from frcnn.cli.run_report import inference_model
                from frcnn.config import Config
                from frcnn.shards import local

                config = Config.from_json(task.config_json, task.allow_custom)
                model = inference_model(task.weights, config, task.folder)
                yield from local.run(task, self.left, bar.update, model)
                return

            from frcnn.shards import ray_engine

            for shard, done in ray_engine.run(task, self.left, ray_engine.Cluster(**cluster)):
                bar.update(done.images)
                yield shard, done
