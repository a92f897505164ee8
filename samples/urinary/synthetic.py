"""Synthetic urine sediment micrographs, COCO style, drawn from a fixed seed.

    python samples/urinary/synthetic.py FOLDER

writes FOLDER/annotations/instances_{train,val}.json and the pictures in FOLDER/{train,val}/.
`ensure` keeps one such folder in a cache, so that training works without any data at hand.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

# So that it also runs as a script, from a clone.
ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

from frcnn.cli.program import Parser, program
from frcnn.errors import DatasetError, OutputError
from frcnn.files import cache_folder, expanded, filling
from samples.urinary.sediment.scene import CLASS_NAMES, draw_micrograph

VERSION = 2  # one up whenever the same seed would draw other pictures
MARKER = "synthetic.json"
SUBSETS = ("train", "val")

__all__ = ["CLASS_NAMES", "draw_micrograph", "ensure", "generate", "name_of"]


def generate(folder: str | Path, *, train: int = 240, val: int = 60, size: int = 384,
             seed: int = 0, verbose: int = 1) -> Path:
    """Draws a data set.

    The folder appears at once and complete: everything is written beside it first.

    Args:
        folder: must not exist, or be empty.
        train, val: numbers of pictures.
        size: their side in pixels.
        seed: the same seed gives the same files, byte for byte.
        verbose: 1 shows a progress bar, on a terminal.

    Returns:
        The folder.

    Raises:
        DatasetError: the folder is not empty or cannot be written.
    """
    target = expanded(folder)
    settings = _settings(train, val, size, seed)
    try:
        with filling(target) as draft:
            _write(draft, settings, verbose)
    except OutputError as error:
        raise DatasetError(f"{target} already exists and is not an empty folder: name "
                           "another.") from error
    except OSError as error:
        # Another process may have put the same folder there in the meantime.
        if _read_marker(target) != settings:
            raise DatasetError(
                f"Cannot write to {target} ({error.strerror or error}): name another folder; the "
                "default one is in the folder that the environment variable FRCNN_CACHE "
                "names.") from error
    return target


def ensure(folder: str | Path | None = None, *, train: int = 240, val: int = 60, size: int = 384,
           seed: int = 0, verbose: int = 1) -> Path:
    """The data set's folder; it is drawn first if it does not exist.

    Several processes may call this at once.

    Args:
        folder: default is a folder named after the settings, in `frcnn.files.cache_folder()`.
        train, val, size, seed, verbose: as in `generate`.

    Raises:
        DatasetError: the folder contains something else or cannot be written.
        FrcnnError: there is no folder for the cache.
    """
    settings = _settings(train, val, size, seed)
    if folder is None:
        folder = cache_folder() / name_of(train=train, val=val, size=size, seed=seed)
    target = expanded(folder)
    if _read_marker(target) == settings:
        return target
    if verbose:
        print(f"Drawing {train + val} synthetic micrographs into {target}")
    return generate(target, train=train, val=val, size=size, seed=seed, verbose=verbose)


def name_of(*, train: int = 240, val: int = 60, size: int = 384, seed: int = 0) -> str:
    """The name of a data set's folder in the cache: another one for other pictures."""
    return f"urinary-synthetic-v{VERSION}-{train}-{val}-{size}px-seed{seed}"


def _settings(train: int, val: int, size: int, seed: int) -> dict[str, int]:
    """What identifies a data set: the content of its marker file."""
    if min(train, val) < 1 or size < 128 or seed < 0:
        raise DatasetError(
            f"train and val must be at least 1, size at least 128 and seed not negative, "
            f"not train={train}, val={val}, size={size}, seed={seed}."
        )
    return {
        "version": VERSION, "train": int(train), "val": int(val), "size": int(size),
        "seed": int(seed),
    }


def _read_marker(folder: Path) -> Any:
    """The settings of a complete data set, or None where there is none."""
    try:
        return json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write(folder: Path, settings: dict[str, int], verbose: int) -> None:
    """Writes every file of the data set, the marker last."""
    (folder / "annotations").mkdir()
    with tqdm(total=settings["train"] + settings["val"], unit="image", desc="micrographs",
              disable=not (verbose and sys.stderr.isatty())) as progress:
        for number, subset in enumerate(SUBSETS):
            (folder / subset).mkdir()
            coco: dict[str, Any] = {
                "info": {"description": "synthetic urine sediment", **settings},
                "licenses": [],
                "images": [],
                "annotations": [],
                "categories": [
                    {"id": k, "name": name, "supercategory": "sediment"}
                    for k, name in enumerate(CLASS_NAMES, start=1)
                ],
            }
            for index in range(settings[subset]):
                rng = np.random.default_rng([settings["seed"], number, index])
                _write_image(folder / subset, coco, index + 1, rng, settings["size"])
                progress.update()
            path = folder / "annotations" / f"instances_{subset}.json"
            path.write_text(json.dumps(coco), encoding="utf-8")
    (folder / MARKER).write_text(json.dumps(settings), encoding="utf-8")


def _write_image(folder: Path, coco: dict[str, Any], image_id: int, rng: np.random.Generator,
                 size: int) -> None:
    """Draws and saves one picture, and adds it and its objects to the annotations."""
    image, boxes, class_ids = draw_micrograph(rng, size)
    name = f"{image_id:06d}.jpg"
    Image.fromarray(image).save(folder / name, quality=92)
    coco["images"].append({"id": image_id, "file_name": name, "width": size, "height": size})
    for (y1, x1, y2, x2), class_id in zip(boxes.tolist(), class_ids.tolist()):
        coco["annotations"].append({
            "id": len(coco["annotations"]) + 1,
            "image_id": image_id,
            "category_id": class_id,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "iscrowd": 0,
        })


@program
def main(arguments: Sequence[str] | None = None, prog: str = "synthetic.py") -> int:
    """Runs the program; returns its exit code."""
    parser = Parser(prog=prog,
                    description="Draws synthetic urine sediment micrographs with annotations in "
                                "COCO's format.")
    parser.add_argument("folder", help="where to write; must not exist or be empty")
    parser.add_argument("--train", type=int, default=240, help="training images (default 240)")
    parser.add_argument("--val", type=int, default=60, help="validation images (default 60)")
    parser.add_argument("--size", type=int, default=384, help="side in pixels (default 384)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same files (default 0)")
    options = parser.parse_args(arguments)
    folder = generate(options.folder, train=options.train, val=options.val, size=options.size,
                      seed=options.seed)
    print(f"{options.train + options.val} micrographs are in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
