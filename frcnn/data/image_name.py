"""How messages name an image of a data set."""

from typing import Any, Protocol


class _Named(Protocol):
    """What is needed of a data set."""

    image_info: list[dict[str, Any]]

    def image_reference(self, image_id: int) -> str: ...


class ImageName:
    """The name of an image, for which `image_reference` is asked only when a message is written.

    A user's `image_reference` may fail, since the reference calls it only in notebooks, may return
    nothing for images of another source, or print. Then the name is the path, or `source.id`.

    Args:
        dataset: a data set.
        image_id: of the image.
    """

    def __init__(self, dataset: _Named, image_id: int) -> None:
        self._dataset, self._image_id = dataset, image_id

    def __str__(self) -> str:
        try:
            name = self._dataset.image_reference(self._image_id)
        except Exception:  # the message to be written matters more than the user's method
            name = ""
        info = self._dataset.image_info[self._image_id]
        return str(name or info.get("path") or f"{info.get('source')}.{info.get('id')}")
