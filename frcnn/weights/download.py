"""Fetches weight files: the reference's COCO checkpoint and the ImageNet backbones."""

import hashlib
import http.client
import logging
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from frcnn.errors import CheckpointError
from frcnn.files import replacing

log = logging.getLogger(__name__)

_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_KERNELS = "weights_tf_dim_ordering_tf_kernels_notop.h5"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class WeightFile:
    """A file on the net: its URL, the name it gets here, and its MD5 sum or its size in bytes."""

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
    # The classic file has the name of Keras's newer one, so that it gets one of its own here.
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


def weights_folder():
    """Where downloaded weights lie: Keras's own folder, `~/.keras/models` or in `KERAS_HOME`."""
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    return Path(home) / "models"


def get_imagenet_weights(backbone, verbose=0):
    """The file with a backbone's ImageNet weights, downloaded once.

    Args:
        backbone: one of "resnet50", "resnet101", "densenet121", "densenet169", "densenet201".
        verbose: 1 shows progress.

    Returns:
        The file's path, as text.

    Raises:
        CheckpointError: no such weights, or the download failed.
    """
    if not isinstance(backbone, str) or backbone not in IMAGENET:
        raise CheckpointError(
            f"There are no ImageNet weights for the backbone {backbone!r}; there are for "
            f"{', '.join(IMAGENET)}. Start from 'none' or a file of your own."
        )
    source = IMAGENET[backbone]
    return fetch(source, weights_folder() / source.name, verbose)


def get_coco_weights(verbose=0):
    """The reference's COCO checkpoint, downloaded once. Args, returns, raises: as above."""
    return fetch(COCO, weights_folder() / COCO.name, verbose)


def download_trained_weights(path, verbose=0):
    """Downloads the reference's COCO checkpoint (ResNet-101, 81 classes, 246 MB) to `path`.

    A complete file that is there already is left as it is.

    Raises:
        CheckpointError: the download failed; nothing is left behind.
    """
    fetch(COCO, path, verbose)


def fetch(source, path, verbose=0):
    """Downloads a file unless it is there, complete; a partial one is never left behind.

    Args:
        source: a `WeightFile`.
        path: where it shall lie.
        verbose: 1 shows progress.

    Returns:
        The path, as text.

    Raises:
        CheckpointError: the server cannot be reached, or what came is not the file.
    """
    path = Path(path)
    if path.is_file():
        complaint = _complaint(source, path)
        if complaint is None:
            return str(path)
        log.warning("%s %s; it is fetched again.", path, complaint)
    log.info("fetching %s", source.url)
    try:
        with replacing(path) as temporary:
            _receive(source.url, temporary, verbose)
            complaint = _complaint(source, temporary)
            if complaint:
                raise CheckpointError(f"What came from {source.url} {complaint}; try again.")
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        reason = getattr(error, "reason", error)
        raise CheckpointError(
            f"{source.url} cannot be fetched ({reason}). Without a connection, copy the file to "
            f"{path} by hand, or start from 'none' or from a file of your own."
        ) from error
    return str(path)


def _receive(url, target, verbose):
    from tqdm import tqdm

    with urllib.request.urlopen(url, timeout=60) as response, open(target, "wb") as file:
        length = response.headers.get("Content-Length")
        length = int(length) if length else None
        with tqdm(total=length, unit="B", unit_scale=True, desc=url.rsplit("/", 1)[-1],
                  disable=not verbose) as bar:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
        if length is not None and file.tell() != length:
            raise ConnectionError(f"the connection broke after {file.tell()} of {length} bytes")


def _complaint(source, path):
    """What is wrong with a file that should be the source's, or None."""
    size = path.stat().st_size
    if source.size is not None and size != source.size:
        return f"has {size} bytes instead of {source.size}"
    if source.md5 is not None:
        digest = hashlib.md5(usedforsecurity=False)
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        if digest.hexdigest() != source.md5:
            return "has another MD5 sum than expected"
    return None
