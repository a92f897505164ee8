"""Downloads weight files: the reference's COCO checkpoint and the ImageNet backbones.

They are kept in the folder `weights` of the cache (see `files.cache_folder`), which the environment
variable FRCNN_CACHE can name. With KERAS_HOME set and FRCNN_CACHE not, they are kept in Keras's own
folder, `$KERAS_HOME/models`. A complete file in Keras's folder (`~/.keras/models` without
KERAS_HOME), from Keras or from an earlier version of this package, is used as it is in any case.
"""

import contextlib
import logging
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from frcnn.errors import CheckpointError
from frcnn.files import CACHE_VARIABLE, cache_folder, expanded, replacing

log = logging.getLogger(__name__)

_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_KERNELS = "weights_tf_dim_ordering_tf_kernels_notop.h5"
_CHUNK = 1 << 20  # bytes
_TIMEOUT = 60  # seconds without an answer


@dataclass(frozen=True)
class WeightFile:
    """A file to download: its URL, its name in the cache, and its MD5 sum or its size in bytes."""

    url: str
    name: str
    md5: str | None = None
    size: int | None = None


COCO = WeightFile(
    "https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5",
    "mask_rcnn_coco.h5",
    size=257557808,
)
IMAGENET = {
    # The classic file's own name is that of a newer file of Keras.
    "resnet50": WeightFile(
        f"https://github.com/fchollet/deep-learning-models/releases/download/v0.2/resnet50_{_KERNELS}",
        f"classic_resnet50_{_KERNELS}",
        md5="a268eb855778b3df3c7506639542a6af",
    ),
    "resnet101": WeightFile(
        f"{_KERAS}/resnet/resnet101_{_KERNELS}",
        f"resnet101_{_KERNELS}",
        md5="88cf7a10940856eca736dc7b7e228a21",
    ),
    "densenet121": WeightFile(
        f"{_KERAS}/densenet/densenet121_{_KERNELS}",
        f"densenet121_{_KERNELS}",
        md5="30ee3e1110167f948a6b9946edeeb738",
    ),
    "densenet169": WeightFile(
        f"{_KERAS}/densenet/densenet169_{_KERNELS}",
        f"densenet169_{_KERNELS}",
        md5="b8c4d4c20dd625c148057b9ff1c1176b",
    ),
    "densenet201": WeightFile(
        f"{_KERAS}/densenet/densenet201_{_KERNELS}",
        f"densenet201_{_KERNELS}",
        md5="c13680b51ded0fb44dff2d8f86ac8bb1",
    ),
}


def weights_folder() -> Path:
    """The folder of downloaded weights, see the module's docstring; it need not exist.

    Raises:
        FrcnnError: see `files.cache_folder`.
    """
    if os.environ.get("KERAS_HOME") and not os.environ.get(CACHE_VARIABLE):
        return _keras_folder()
    return cache_folder() / "weights"


def _keras_folder() -> Path:
    return expanded(os.environ.get("KERAS_HOME") or "~/.keras") / "models"


def get_imagenet_weights(backbone: object, verbose: int = 0) -> str:
    """The file with a backbone's ImageNet weights, downloaded once.

    Args:
        backbone: one of "resnet50", "resnet101", "densenet121", "densenet169", "densenet201".
        verbose: 1 shows progress.

    Returns:
        The file's path.

    Raises:
        CheckpointError: no such weights, or the download failed.
    """
    if not isinstance(backbone, str) or backbone not in IMAGENET:
        raise CheckpointError(
            f"There are no ImageNet weights for the backbone {backbone!r}; there are for "
            f"{', '.join(IMAGENET)}. Start from 'none' or a file of your own."
        )
    return _cached(IMAGENET[backbone], verbose)


def get_coco_weights(verbose: int = 0) -> str:
    """The reference's COCO checkpoint, downloaded once. Args, returns, raises: as above."""
    return _cached(COCO, verbose)


def _cached(source: WeightFile, verbose: int) -> str:
    path, of_keras = weights_folder() / source.name, _keras_folder() / source.name
    if not path.exists() and of_keras.is_file() and _complaint(source, of_keras) is None:
        return str(of_keras)
    return fetch(source, path, verbose)


def download_trained_weights(path: str | os.PathLike[str], verbose: int = 0) -> None:
    """Downloads the reference's COCO checkpoint (ResNet-101, 81 classes, 246 MB) to `path`.

    A complete file that exists already is left as it is.

    Raises:
        CheckpointError: the download failed; nothing is left behind.
    """
    fetch(COCO, path, verbose)


def fetch(source: WeightFile, path: str | os.PathLike[str], verbose: int = 0) -> str:
    """Downloads a file unless it exists and is complete; a partial one is never left behind.

    Args:
        source: the file to download.
        path: where to write it; the folder is made if missing.
        verbose: 1 shows progress.

    Returns:
        The path.

    Raises:
        CheckpointError: the server cannot be reached, or the content is not that of the file.
    """
    path = Path(path)
    if path.is_file():
        complaint = _complaint(source, path)
        if complaint is None:
            return str(path)
        log.warning("%s %s; it is downloaded again.", path, complaint)
    log.info("downloading %s", source.url)
    handled = sys.exception()  # of the caller, if this is called while it handles one
    try:
        with replacing(path) as temporary:
            _download(source.url, temporary, verbose)
            complaint = _complaint(source, temporary)
            if complaint:
                raise CheckpointError(f"What came from {source.url} {complaint}; try again.")
    except OSError as error:  # those of requests are OSErrors, too
        raise CheckpointError(
            f"{source.url} cannot be fetched ({_reason(error, handled)}). Without a connection, "
            f"copy the file to {path} by hand, or start from 'none' or from a file of your own."
        ) from error
    return str(path)


def _download(url: str, target: Path, verbose: int) -> None:
    # Imported here, since most programs never download anything.
    from pooch import HTTPDownloader

    if url.startswith("file:"):  # a mirror on disk, which pooch cannot read
        shutil.copyfile(url2pathname(urlsplit(url).path), target)
        return
    with contextlib.closing(_Progress(url.rsplit("/", 1)[-1])) as progress:
        download = HTTPDownloader(progressbar=progress if verbose else False, chunk_size=_CHUNK,
                                  timeout=_TIMEOUT)
        download(url, str(target), None)


class _Progress:
    """A progress bar for pooch, which sets `total` (0 if unknown) once the server has answered.

    It is shown from then on, so that a failure to connect leaves no bar behind.
    """

    def __init__(self, name: str) -> None:
        self.name, self.total = name, 0
        self._bar: Any = None

    def update(self, size: int) -> None:
        """Advances the bar by some bytes."""
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(total=self.total or None, unit="B", unit_scale=True, desc=self.name)
        self._bar.update(size)

    def reset(self) -> None:
        """Sets the bar back to the beginning, as pooch does to end exactly at the total."""
        if self._bar is not None and self.total:
            self._bar.reset()

    def close(self) -> None:
        """Ends the bar; may be called more than once."""
        if self._bar is not None:
            self._bar.close()


def _reason(error: BaseException, handled: BaseException | None) -> str:
    """The innermost cause, in a line: requests and urllib3 wrap it in longer texts of their own."""
    while error.__context__ not in (None, handled):
        error = error.__context__
    return str(error).split(" for url:")[0]


def _complaint(source: WeightFile, path: Path) -> str | None:
    """What is wrong with a file that should be the source's, or None."""
    from pooch import file_hash

    size = path.stat().st_size
    if source.size is not None and size != source.size:
        return f"has {size} bytes instead of {source.size}"
    if source.md5 is not None and file_hash(str(path), alg="md5") != source.md5:
        return "has another MD5 sum than expected"
    return None
