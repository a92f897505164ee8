"""Downloads weight files: the reference's COCO checkpoint and the ImageNet backbones.

They are kept in the folder `weights` of the cache (see `files.cache_folder`), which the environment
variable FRCNN_CACHE can name. With KERAS_HOME set and FRCNN_CACHE not, they are kept in Keras's own
folder, `$KERAS_HOME/models`. A complete file in Keras's folder (`~/.keras/models` without
KERAS_HOME), from Keras or from an earlier version of this package, is used as it is in any case.

The sources publish no SHA-256 sums, Keras publishes MD5 sums. So the SHA-256 sum of the first file
from each address is recorded in the cache, in `weights.sha256`, and holds from then on.
"""

import contextlib
import logging
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frcnn.compatibility import renamed
from frcnn.errors import CheckpointError
from frcnn.files import CACHE_VARIABLE, cache_folder, expanded, replacing
from frcnn.weights.transfer import Transfer

log = logging.getLogger(__name__)

_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_KERNELS = "weights_tf_dim_ordering_tf_kernels_notop.h5"
_TIMEOUT = 60  # seconds without an answer


@dataclass(frozen=True)
class WeightFile:
    """A file to download.

    Attributes:
        url: where it is.
        name: its name in the cache.
        md5: its MD5 sum, in hexadecimal digits, or None.
        size: in bytes, or None.
        sha256: its SHA-256 sum; None if the source publishes none. Then that of the first file that
            comes from there is recorded, and later ones must have the same.
    """

    url: str
    name: str
    md5: str | None = None
    size: int | None = None
    sha256: str | None = None

    @property
    def is_checked(self) -> bool:
        """Whether the source publishes a sum of the file."""
        return self.sha256 is not None or self.md5 is not None


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


@renamed(coco_model_path="path")
def download_trained_weights(path: str | os.PathLike[str], verbose: int = 0) -> None:
    """Downloads the reference's COCO checkpoint (ResNet-101, 81 classes, 246 MB) to `path`.

    A complete file that exists already is left as it is.

    Raises:
        CheckpointError: the download failed; nothing is left behind.
    """
    fetch(COCO, path, verbose)


def fetch(source: WeightFile, path: str | os.PathLike[str], verbose: int = 0) -> str:
    """Downloads a file unless it exists and is complete; a partial one never appears at `path`.

    A download that was interrupted goes on where it ended, see `frcnn.weights.transfer`.

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
    transfer = Transfer(source.url, source.is_checked, _TIMEOUT)
    try:
        with transfer, contextlib.closing(_Progress(source.url.rsplit("/", 1)[-1])) as progress:
            complaint = _complaint(source, transfer.run(progress if verbose else False))
            if complaint and transfer.resumed:  # the rest was of another version, perhaps
                complaint = _complaint(source, transfer.restart(progress if verbose else False))
            if complaint:
                transfer.discard()
                raise CheckpointError(f"What came from {source.url} {complaint}; try again.")
            with replacing(path) as temporary:
                shutil.copyfile(transfer.path, temporary)
    except OSError as error:  # those of requests are OSErrors, too
        kept = f" {transfer.kept:,} bytes are kept, and the next attempt goes on there." \
            if transfer.kept else ""
        raise CheckpointError(
            f"{source.url} cannot be fetched ({_reason(error, handled)}).{kept} Without a "
            f"connection, copy the file to {path} by hand, or start from 'none' or from a file of "
            "your own.") from error
    return str(path)


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
    """What is wrong with a file that should be the source's, or None.

    The SHA-256 sum of a file whose sum is not known is recorded at first, and compared from then
    on.
    """
    from pooch import file_hash

    size = path.stat().st_size
    if source.size is not None and size != source.size:
        return f"has {size} bytes instead of {source.size}"
    found = str(file_hash(str(path), alg="sha256"))
    if source.sha256 is not None:
        return None if found == source.sha256 else "has another SHA-256 sum than expected"
    if source.md5 is not None and file_hash(str(path), alg="md5") != source.md5:
        return "has another MD5 sum than expected"
    first = _first_sum(source.url, found)
    if first != found:
        return (f"has the SHA-256 sum {found}, but the first file from there had {first}, as "
                f"recorded in {_record_path()}; if a new file was published there, delete its line")
    return None


def _first_sum(url: str, found: str) -> str:
    """The SHA-256 sum of the first file from an address; if this is it, its sum is recorded."""
    try:
        path = _record_path()
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        for line in lines:
            recorded, _, address = line.partition("  ")
            if address == url:
                return recorded
        with replacing(path) as temporary:
            temporary.write_text("\n".join([*lines, f"{found}  {url}", ""]), "utf-8")
    except (OSError, ValueError) as error:  # no place, no home, no text
        log.warning("The SHA-256 sum of %s cannot be recorded: %s", url, error)
    return found


def _record_path() -> Path:
    return cache_folder() / "weights.sha256"
