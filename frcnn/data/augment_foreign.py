"""Transforms of other libraries as augmentation: Albumentations, torchvision v2.

They are recognized by the module of their class, so that nothing is imported unless it is there.
imgaug has not been maintained since 2020 and fails with NumPy 2; its augmenters are recognized for
a message that says what to take instead.
"""

import contextlib
import random
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from frcnn.arrays import Boxes, ClassIds, Image
from frcnn.errors import ConfigError

_LIBRARIES = ("albumentations", "imgaug", "torchvision")
# Of Albumentations: may swap an image's height and width.
_TURNING = ("D4", "RandomRotate90", "Rotate90", "SquareSymmetry", "Transpose")

# Of BboxParams of Albumentations: which boxes are dropped; not every version has all of them.
_LIMITS = ("min_area", "min_visibility", "min_width", "min_height", "max_accept_ratio",
           "filter_invalid_bboxes", "check_each_transform", "clip")

# Of imgaug: augmenters that hold others.
_HOLDERS = ("Sequential", "SomeOf", "OneOf", "Sometimes", "list", "tuple")
# By augmenter of imgaug: the Keras layer that does about the same.
_KERAS_LAYERS = {
    "Fliplr": 'RandomFlip("horizontal"', "HorizontalFlip": 'RandomFlip("horizontal"',
    "Flipud": 'RandomFlip("vertical"', "VerticalFlip": 'RandomFlip("vertical"',
    "Rot90": "RandomRotation(0.25", "Rotate": "RandomRotation(0.1", "Affine": "RandomRotation(0.1",
    "ShearX": "RandomShear(0.1", "ShearY": "RandomShear(0.1", "Crop": "RandomZoom(0.1",
    "CropAndPad": "RandomZoom(0.1", "ScaleX": "RandomZoom(0.1", "ScaleY": "RandomZoom(0.1",
    "TranslateX": "RandomTranslation(0.1, 0.1", "TranslateY": "RandomTranslation(0.1, 0.1",
    "Add": "RandomBrightness(0.1", "AddToBrightness": "RandomBrightness(0.1",
    "Multiply": "RandomBrightness(0.1", "MultiplyBrightness": "RandomBrightness(0.1",
    "ContrastNormalization": "RandomContrast(0.2", "LinearContrast": "RandomContrast(0.2",
    "GammaContrast": "RandomContrast(0.2", "GaussianBlur": "RandomGaussianBlur(factor=0.5",
    "AverageBlur": "RandomGaussianBlur(factor=0.5", "Sharpen": "RandomSharpness(0.5",
    "AddToHueAndSaturation": "RandomHue(0.05",
}


def library_of(augmentation: Any) -> str | None:
    """The library that an augmentation's class is from, of those that are known here.

    A list is of imgaug if one of its augmenters is.
    """
    if type(augmentation) in (list, tuple):
        return "imgaug" if "imgaug" in map(library_of, augmentation) else None
    for base in type(augmentation).__mro__:
        library = base.__module__.split(".")[0]
        if library in _LIBRARIES:
            return library
    return None


def adapted(augmentation: Any, library: str) -> Any:
    """The augmentation of a library as one of `frcnn.data.augment`.

    Raises:
        ConfigError: it is of imgaug, or cannot transform boxes.
    """
    if library == "imgaug":
        raise ConfigError(_instead_of_imgaug(augmentation))
    return (AlbumentationsTransform if library == "albumentations" else TorchvisionTransform)(
        augmentation)


# --- imgaug ---------------------------------------------------------------------------------


def _instead_of_imgaug(augmenter: Any) -> str:
    names = list(dict.fromkeys(_augmenter_names(augmenter)))
    layers = list(dict.fromkeys(_KERAS_LAYERS[name] for name in names if name in _KERAS_LAYERS))
    preset = preset_like(names)
    text = (f"augmentation is an augmenter of imgaug ({', '.join(names) or 'empty'}), which is no "
            "longer maintained and fails with NumPy 2. Write augmentation="
            f"{preset!r}, one of the presets")
    if not layers:
        return f"{text}."
    calls = ", ".join(f'keras.layers.{layer}, bounding_box_format="xyxy")' for layer in layers)
    chosen = calls if len(layers) == 1 else f"keras.layers.Pipeline([{calls}])"
    return f"{text}, or augmentation={chosen}."


def preset_like(names: Iterable[str]) -> str:
    """The preset that is most like some of imgaug's augmenters, given by their names."""
    used = set(names) - set(_HOLDERS)
    if used and used <= {"Fliplr", "HorizontalFlip"}:
        return "flip"
    if used and used <= {"Fliplr", "Flipud", "HorizontalFlip", "VerticalFlip"}:
        return "flips"
    return "microscopy"


def _augmenter_names(augmenter: Any) -> Iterator[str]:
    """Names of the augmenters inside a tree of them; those that only hold others are left out."""
    children = _children(augmenter)
    if not children:
        if type(augmenter).__name__ not in _HOLDERS:
            yield type(augmenter).__name__
        return
    for child in children:
        yield from _augmenter_names(child)


def _children(augmenter: Any) -> list[Any]:
    if isinstance(augmenter, (list, tuple)):  # Sequential and its kind are lists
        return list(augmenter)
    found: list[Any] = []
    for name in ("then_list", "else_list"):  # of Sometimes
        found += getattr(augmenter, name, None) or []
    return found


# --- Albumentations -------------------------------------------------------------------------


class AlbumentationsTransform:
    """An augmentation, as `frcnn.data.augment` describes it, from a transform of Albumentations.

    Args:
        transform: `albumentations.Compose`, or one transform. Of its own `bbox_params` those are
            kept that say which boxes are dropped (`min_area`, `min_visibility`, …); the format and
            the label fields are those of frcnn.

    Attributes:
        turns: whether it may swap an image's height and width.
    """

    def __init__(self, transform: Any) -> None:
        import albumentations

        steps = list(transform.transforms) if isinstance(transform, albumentations.Compose) \
            else [transform]
        boxes = albumentations.BboxParams(format="pascal_voc", label_fields=["numbers"],
                                          **_limits(transform))
        self.compose = albumentations.Compose(steps, bbox_params=boxes,
                                              p=getattr(transform, "p", 1.0)
                                              if steps != [transform] else 1.0)
        self.turns = any(name in _TURNING for name in _transform_names(steps))
        self._lock = threading.Lock()

    def __call__(self, image: Image, boxes: Boxes, class_ids: ClassIds,
                 rng: np.random.Generator) -> tuple[Image, Boxes, ClassIds]:
        """See `frcnn.data.augment`."""
        height, width = image.shape[:2]
        inside = np.clip(boxes, 0, [height, width, height, width])
        with self._lock, _seeded(self.compose, int(rng.integers(2**31))):
            result = self.compose(image=np.ascontiguousarray(image), bboxes=_xyxy(inside).tolist(),
                                  numbers=list(range(len(boxes))))
        found = np.asarray(result["bboxes"], np.float32).reshape(-1, 4)
        kept = np.asarray(result["numbers"], int).reshape(-1)
        return result["image"], _yxyx(found), class_ids[kept]


def _limits(compose: Any) -> dict[str, Any]:
    """What a Compose's own `bbox_params` say of the boxes that are dropped."""
    processor = (getattr(compose, "processors", None) or {}).get("bboxes")
    params = getattr(processor, "params", None)
    found = {name: getattr(params, name, None) for name in _LIMITS}
    return {name: value for name, value in found.items() if value is not None}


def _transform_names(steps: Iterable[Any]) -> Iterator[str]:
    for step in steps:
        yield type(step).__name__
        yield from _transform_names(getattr(step, "transforms", None) or ())


@contextlib.contextmanager
def _seeded(compose: Any, seed: int) -> Iterator[None]:
    """A context in which Albumentations draws its random numbers from a seed.

    Versions before 1.4.19 draw from Python's and NumPy's global states, which are restored.
    """
    if hasattr(compose, "set_random_seed"):
        compose.set_random_seed(seed)
        yield
        return
    states = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


# --- torchvision ----------------------------------------------------------------------------


class TorchvisionTransform:
    """An augmentation, as `frcnn.data.augment` describes it, from torchvision's transforms v2.

    Args:
        transform: of `torchvision.transforms.v2`, or its `Compose`. Put `SanitizeBoundingBoxes` at
            the end of one that moves boxes out of the image, or leave that to frcnn.

    Raises:
        ConfigError: it is one of torchvision's first version, which transforms no boxes.
    """

    turns = False

    def __init__(self, transform: Any) -> None:
        if not any(".v2" in base.__module__ for base in type(transform).__mro__):
            raise ConfigError(f"augmentation is {type(transform).__name__} of "
                              "torchvision.transforms, which transforms no boxes; take that of "
                              "torchvision.transforms.v2.")
        self.transform = transform
        self._lock = threading.Lock()

    def __call__(self, image: Image, boxes: Boxes, class_ids: ClassIds,
                 rng: np.random.Generator) -> tuple[Image, Boxes, ClassIds]:
        """See `frcnn.data.augment`."""
        import torch
        from torchvision import tv_tensors

        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        sample = {
            "image": tv_tensors.Image(pixels), "labels": torch.arange(len(boxes)),
            "boxes": tv_tensors.BoundingBoxes(_xyxy(boxes), format="XYXY",
                                              canvas_size=image.shape[:2]),
        }
        with self._lock, torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**31)))
            result = self.transform(sample)
        changed = np.asarray(result["image"]).transpose(1, 2, 0)
        found = np.asarray(result["boxes"], np.float32).reshape(-1, 4)
        return changed, _yxyx(found), class_ids[np.asarray(result["labels"], int)]


def _xyxy(boxes: Boxes) -> Boxes:
    return np.ascontiguousarray(boxes[:, [1, 0, 3, 2]])


_yxyx = _xyxy  # the same exchange
