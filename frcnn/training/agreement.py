"""What the processes of a job exchange: they train alike, and process 0 decides."""

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np

from frcnn import __version__
from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.errors import ConfigError, FrcnnError
from frcnn.training.job import current


def from_main(make: Callable[[], Any]) -> Any:
    """What a function returns in process 0, in every process; all of them have to call this.

    Args:
        make: called in process 0 alone; returns what JSON has.

    Raises:
        FrcnnError: in the others, that of process 0, whatever its kind was there.
    """
    job = current()
    if job.processes == 1:
        return make()
    error: BaseException | None = None
    content: dict[str, Any] = {}
    if job.is_main:
        try:
            content = {"value": make()}
        except Exception as raised:
            error, content = raised, {"error": f"{type(raised).__name__}: {raised}"}
    received = json.loads(_gather(json.dumps(content))[0])
    if error is not None:
        raise error
    if "error" in received:
        raise FrcnnError(f"Process 0 failed: {received['error']}")
    return received["value"]


def same_seed(seed: int | None, config: Config) -> int | None:
    """The seed; where there is none and there are several processes, one that process 0 draws.

    Raises:
        ConfigError: the processes have other seeds or settings; the message names both.
    """
    if current().processes == 1:
        return seed
    settings = json.loads(config.to_json())
    agree({"the seed": seed, **{f"the setting {name}": settings[name] for name in settings}})
    if seed is not None:
        return seed
    from frcnn.data.loader import fresh_seed

    return int(from_main(lambda: fresh_seed() % 2**32))


def agree(values: Mapping[str, Any]) -> None:
    """Checks that all processes have the same values; all of them have to call it.

    Args:
        values: by name; compared as text.

    Raises:
        ConfigError: two differ; the message names both.
    """
    if current().processes == 1:
        return
    texts = {name: str(value) for name, value in values.items()}
    everyone = [json.loads(content) for content in _gather(json.dumps(texts))]
    for process, others in enumerate(everyone):
        for name in everyone[0]:
            if others.get(name) != everyone[0][name]:
                raise ConfigError(
                    f"The processes must train alike, but {name} is {everyone[0][name]} in "
                    f"process 0 and {others.get(name)} in process {process}.")


def highest(number: int) -> int:
    """The highest of the processes' numbers; all of them have to call it."""
    from frcnn.network import ops

    return ops.highest(number)


def _gather(content: str) -> list[str]:
    from frcnn.network import ops

    return [text.decode() for text in ops.gather_bytes(content.encode())]


def versions() -> dict[str, str]:
    """The versions on which a training depends, by name."""
    return {"frcnn's version": __version__,
            **{f"{name}'s version": importlib.metadata.version(name.lower())
               for name in ("Keras", "JAX", "NumPy")}}


def digest_of_data(dataset: Dataset | None) -> str:
    """What a data set has, as a short text: its images, their names and boxes."""
    if dataset is None:
        return "none"
    content = hashlib.sha256()
    own_boxes = type(dataset).load_boxes is not Dataset.load_boxes  # else made of masks, slowly
    for image_id in dataset.image_ids:
        info = dataset.image_info[image_id]
        content.update(f"{info['source']} {info['id']};".encode())
        if own_boxes:
            for array in dataset.load_boxes(image_id):
                content.update(array.tobytes())
    names = ", ".join(map(str, dataset.class_names[1:]))
    return (f"{dataset.num_images} images of the classes {names} with the SHA-256 "
            f"{content.hexdigest()[:16]}")


def fingerprint(dataset: Dataset) -> str:
    """As `digest_of_data`, in microseconds an image: only of what the data set has in memory.

    Those are the images' names, without the folders, and the boxes of annotated data sets.
    """
    content = hashlib.sha256()
    for image_id in dataset.image_ids:
        info = dataset.image_info[image_id]
        content.update(f"{info['source']} {PurePath(str(info['id'])).name} "
                       f"{info.get('category_ids')};".encode())
        if isinstance(info.get("boxes"), np.ndarray):
            content.update(info["boxes"].tobytes())
    names = ", ".join(map(str, dataset.class_names[1:]))
    return f"{dataset.num_images} images of the classes {names}, {content.hexdigest()[:16]}"
