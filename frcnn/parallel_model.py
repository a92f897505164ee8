"""The reference's module for several GPUs, which says what to do instead."""

from typing import Any, NoReturn

from frcnn.errors import LeftOutError


class ParallelModel:
    """Not here: raises LeftOutError when it is made."""

    def __init__(self, keras_model: Any = None, gpu_count: int = 1) -> None:
        _refuse()


def _refuse() -> NoReturn:
    raise LeftOutError(
        "ParallelModel is not here: GPU_COUNT is only a factor of the batch size, and a model on "
        "one GPU needs no wrapper. Leave ParallelModel out and set IMAGES_PER_GPU.")
