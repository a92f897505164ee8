"""The files of `frcnn detect`: which images to read, where results go, and pictures."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from frcnn.arrays import Image
from frcnn.cli import outputs
from frcnn.data.image_ids import ids_of_files
from frcnn.errors import FrcnnError, OutputError
from frcnn.files import MAX_NAME, expanded, shortened
from frcnn.formats import tables
from frcnn.formats.names import relative_names
from frcnn.formats.registry import Format
from frcnn.shards.inputs import files_named

# What `MaskRCNN.detect` returns for an image.
Detections: TypeAlias = Mapping[str, Any]

# Earlier results of these kinds can be told from other files, and are replaced.
REPLACEABLE = (".json", ".csv")


def find_images(inputs: Iterable[str]) -> list[Path]:
    """The files that images, folders and patterns name, each once, in order; see `files_named`.

    One file under several paths, such as a relative and an absolute one, is taken once.

    Raises:
        FileNotFoundError: an input names no file.
        FrcnnError: an input is a device or the like, from which reading may never end.
    """
    found: dict[tuple[str, str], Path] = {}
    for text in inputs:
        files = files_named(text)
        if not files:
            raise FileNotFoundError(f"{text}: no such file, and no image matches it."
                                    if not expanded(text).is_dir() else
                                    f"{text}: the folder has no images.")
        folders = {folder: os.path.realpath(folder) for folder in {file.parent for file in files}}
        for file in files:
            found.setdefault((folders[file.parent], file.name), file)
    return list(found.values())


def number_images(paths: Sequence[Path], annotation_path: str | None = None) -> dict[Path, Any]:
    """Image ids by path: those of a COCO annotation file by file name, else 1, 2, 3, …

    Raises:
        FileNotFoundError, DatasetError: see `ids_of_files`.
    """
    if annotation_path is None:
        return {path: number for number, path in enumerate(paths, start=1)}
    return dict(ids_of_files(paths, annotation_path))


def check_output(option: str, path: Path, chosen: Format, images: int | None = None) -> None:
    """Checks that results can be written, and that nothing but earlier results is replaced.

    Args:
        option: that names the output, for messages.
        path: a file, or a folder for a format with a file for each image.
        chosen: the format.
        images: how many there are, if that is known.

    Raises:
        OutputError: something else is there, or several images would have one file.
    """
    if path.is_dir():
        if not chosen.by_image:
            raise OutputError(f"{option}: {path} is a folder; name a file.")
        if any(path.iterdir()):
            raise OutputError(f"{option}: {path} is a folder with files in it; name a new one.")
    elif path.exists():
        if path.suffix.lower() not in REPLACEABLE:
            raise OutputError(f"{option}: {path} is there already; delete it or name another file.")
        outputs.check_no_other_content(option, path, ",".join(tables.COLUMNS))
    if chosen.by_image and path.suffix and (images or 0) > 1:
        raise OutputError(f"{option}: {path} is one file, and this format has a file for each of "
                          f"{images} images; name a folder, and the format with --format.")


def check_outside(option: str, folder: Path, inputs: Iterable[str]) -> None:
    """Checks that pictures will not be images of an input folder the next time it is read.

    Raises:
        OutputError: the folder is in a folder that is an input.
    """
    place = Path(os.path.realpath(folder))
    for text in inputs:
        given = expanded(text)
        if given.is_dir() and Path(os.path.realpath(given)) in place.parents:
            raise OutputError(f"{option} {folder}: this folder is in the input {text}, so that its "
                              "pictures would be read as images the next time; name a folder "
                              "outside of it.")


class Preview(NamedTuple):
    """An image as a picture shows it.

    Attributes:
        image: `[h, w, C]`, of at most 2000 pixels a side.
        factor: how many pixels of the original image one of it stands for, on both axes.
    """

    image: Image
    factor: float


class Artist:
    """Writes images with their detections into a folder, as PNG files named after the images.

    They are in folders as the images are. Only pictures of its own, from earlier calls, are
    replaced; beside any other file of that name, the picture gets a number.

    Args:
        folder: the folder; it is made when the first picture is written.
        class_names: by class id, background first.
        images: the files that are detected in.

    Raises:
        FrcnnError: the folder is a file.
        OutputError: one of the images is where pictures will be.
    """

    def __init__(self, folder: str, class_names: Sequence[str],
                 images: Iterable[Path] = ()) -> None:
        self.folder = expanded(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise FrcnnError(f"--pictures {folder} is a file; name a folder.")
        images = list(images)
        names = relative_names(map(str, images))
        self._folders = {image: (self.folder / name).parent for image, name in zip(images, names)}
        places = {os.path.realpath(image.parent): image for image in reversed(images)}
        for target in dict.fromkeys(self._folders.values()):
            image = places.get(os.path.realpath(target))
            if image is not None:
                raise OutputError(f"--pictures {folder}: the image {image} is in this folder, and "
                                  "a picture must not replace an image; name another folder.")
        self.class_names = class_names
        self.taken: set[str] = set()

    @staticmethod
    def preview(image: Image) -> Preview:
        """What `draw` needs of an image, so that the image itself need not stay in memory."""
        from frcnn.visualize.reduction import reduced, reduction

        factor = reduction(image.shape)
        return Preview(reduced(image, factor), factor)

    def draw(self, path: Path, preview: Preview, result: Detections) -> None:
        """Writes one picture; an image whose name is taken gets a number."""
        from frcnn import visualize

        target = self._free_place(self._folders.get(path, self.folder), path.stem)
        with visualize.default_style():
            axes = visualize.display_instances(
                preview.image, result["boxes"] / preview.factor, result["class_ids"],
                self.class_names, scores=result["scores"])
            visualize.save_figure(axes, target, software=outputs.SOFTWARE)

    def _free_place(self, folder: Path, stem: str) -> Path:
        number = 1
        while True:
            ending = ".png" if number == 1 else f"-{number}.png"
            target = folder / (shortened(stem, MAX_NAME - len(ending)) + ending)
            key = str(target).casefold()
            if key not in self.taken and (
                    not os.path.lexists(target) or outputs.is_own_picture(target)):
                self.taken.add(key)
                return target
            number += 1
