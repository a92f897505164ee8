"""Config: every setting of the detector, its default and its check, in one class.

Names and defaults are those of the reference (Matterport's Mask R-CNN, final release), without the
settings of the mask head. Subclass it and override class attributes, or pass them by keyword.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from frcnn.arrays import ArrayLike, IntArray
from frcnn.errors import ConfigError
from frcnn.settings import Settings

BACKBONES = ("resnet50", "resnet101", "densenet121", "densenet169", "densenet201")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "auto")
RESIZE_MODES = ("none", "square", "pad64", "fit64", "crop")
# The modes in which all molded images of training are squares, and the setting with their side.
SQUARE_MODES = {"square": "IMAGE_MAX_DIM", "crop": "IMAGE_MIN_DIM"}
LOSS_NAMES = ("rpn_class_loss", "rpn_bbox_loss", "mrcnn_class_loss", "mrcnn_bbox_loss")
# The parts of the image meta vector, in order, and how many numbers each has; one flag for each
# class follows them.
IMAGE_META_PARTS = {"image_id": 1, "original_image_shape": 3, "image_shape": 3, "window": 4,
                    "scale": 1}
# Of the reference's mask head and of its older releases: accepted in a subclass, without effect.
IGNORED_SETTINGS = ("USE_MINI_MASK", "MINI_MASK_SHAPE", "MASK_POOL_SIZE", "MASK_SHAPE",
                    "IMAGE_PADDING")  # fmt: skip
_STRIDES = [4, 8, 16, 32, 64]  # of the networks in BACKBONES


class Config(Settings):
    """Settings of one detector; the values are checked when an instance is created.

    An instance has its own copy of every list, dict and array. An upper-case name that is similar
    to that of a setting is an error, in a subclass and in an assignment, since it is probably
    misspelled. Other upper-case attributes of a subclass are the user's own settings, and are
    stored with the others. The settings in IGNORED_SETTINGS, of the reference's mask head and older
    releases, are accepted and ignored.

    Args:
        **settings: upper-case settings that replace the class's own, as
            `Config(NUM_CLASSES=4, IMAGE_MAX_DIM=512)`.

    Raises:
        ConfigError: a setting is unknown or misspelled, or its value is not allowed; the message
            names the setting, the value and what is allowed.
    """

    NAME: str | None = None  # part of the names of run folders and checkpoints
    GPU_COUNT: int = 1  # factor of the batch size, kept from the reference
    IMAGES_PER_GPU: int = 2  # images in a batch, for each of GPU_COUNT

    STEPS_PER_EPOCH: int | None = None  # batches; None: every image once
    VALIDATION_STEPS: int | None = None  # batches; None: every image once

    # One of BACKBONES, or a module-level function (input_image, stage5, train_bn) -> [C1, ..., C5].
    # COMPUTE_BACKBONE_SHAPE is then required: image_shape -> [5, (height, width)] of P2 to P6.
    BACKBONE: str | Callable[..., Any] = "resnet101"
    COMPUTE_BACKBONE_SHAPE: Callable[..., Any] | None = None
    BACKBONE_STRIDES: Sequence[int] = list(_STRIDES)  # pixels, for P2 to P6
    TOP_DOWN_PYRAMID_SIZE: int = 256  # channels of the pyramid
    FPN_CLASSIF_FC_LAYERS_SIZE: int = 1024  # units of the head's two dense layers

    NUM_CLASSES: int = 1  # count, including the background

    RPN_ANCHOR_SCALES: Sequence[float] = (32, 64, 128, 256, 512)  # side in pixels, for P2 to P6
    RPN_ANCHOR_RATIOS: Sequence[float] = [0.5, 1, 2]  # width / height
    RPN_ANCHOR_STRIDE: int = 1  # step between anchors, in cells of the feature map
    RPN_NMS_THRESHOLD: float = 0.7  # IoU above which NMS drops the lower-scored proposal
    RPN_TRAIN_ANCHORS_PER_IMAGE: int = 256  # anchors in the RPN's losses, for each image
    RPN_BBOX_STD_DEV: ArrayLike = np.array([0.1, 0.1, 0.2, 0.2])  # divisors of (dy, dx, dh, dw)
    PRE_NMS_LIMIT: int = 6000  # highest-scored anchors of an image that enter NMS
    POST_NMS_ROIS_TRAINING: int = 2000  # limit of the proposals per image after NMS
    POST_NMS_ROIS_INFERENCE: int = 1000  # limit of the proposals per image after NMS

    IMAGE_RESIZE_MODE: str = "square"  # one of RESIZE_MODES, see frcnn.data.resize
    IMAGE_MIN_DIM: int = 800  # pixels that the shorter side is enlarged to
    IMAGE_MAX_DIM: int = 1024  # pixels, limit of the longer side
    IMAGE_MIN_SCALE: float = 0  # lowest scale factor, before IMAGE_MAX_DIM; 0: no limit
    IMAGE_CHANNEL_COUNT: int = 3  # channels of the image
    MEAN_PIXEL: ArrayLike = np.array([123.7, 116.8, 103.9])  # gray levels, RGB; subtracted

    TRAIN_ROIS_PER_IMAGE: int = 200  # RoIs in the head's losses, for each image
    ROI_POSITIVE_RATIO: float = 0.33  # share of positive RoIs
    POOL_SIZE: int = 7  # samples of a pooled RoI along each side
    MAX_GT_INSTANCES: int = 100  # limit of the objects per image in training
    BBOX_STD_DEV: ArrayLike = np.array([0.1, 0.1, 0.2, 0.2])  # divisors of (dy, dx, dh, dw)

    DETECTION_MAX_INSTANCES: int = 100  # limit of the detections per image
    DETECTION_MIN_CONFIDENCE: float = 0.7  # lowest score of a detection, 0 to 1
    DETECTION_NMS_THRESHOLD: float = 0.3  # IoU above which NMS drops the lower-scored one
    # True: a RoI is a candidate for every class whose score is high enough, as in torchvision;
    # False: for its best class only, as in the reference.
    DETECTION_ALL_CLASSES: bool = False
    # Soft-NMS: width of the Gaussian that lowers the scores of overlapping detections, instead of
    # dropping them; 0: DETECTION_NMS_THRESHOLD decides.
    DETECTION_SOFT_NMS_SIGMA: float = 0.0

    LEARNING_RATE: float = 0.001  # of SGD
    LEARNING_MOMENTUM: float = 0.9  # of SGD, 0 to 1
    WEIGHT_DECAY: float = 0.0001  # factor of the L2 penalty
    GRADIENT_CLIP_NORM: float | None = 5.0  # limit of the global norm; None: no limit
    LOSS_WEIGHTS: dict[str, float] = dict.fromkeys(LOSS_NAMES, 1.0)  # factor of each loss
    LABEL_SMOOTHING: float = 0.0  # share of the head's class target spread over all classes

    USE_RPN_ROIS: bool = True  # False: the head trains on random boxes instead of proposals
    # Whether the ground-truth boxes are added to the proposals that train the head, so that it
    # learns classes that the RPN does not find yet. Not in the reference.
    PROPOSAL_APPEND_GT: bool = False
    TRAIN_BN: bool = False  # False: BatchNorm uses its stored statistics; True: the batch's
    PRECISION: str = "float32"  # one of PRECISIONS; "auto": see network.precision

    _sources = {
        "BATCH_SIZE": "IMAGES_PER_GPU and GPU_COUNT",
        "IMAGE_SHAPE": "IMAGE_RESIZE_MODE, IMAGE_MAX_DIM (IMAGE_MIN_DIM in the mode 'crop') and "
                       "IMAGE_CHANNEL_COUNT",
        "IMAGE_META_SIZE": "NUM_CLASSES",
    }  # fmt: skip
    _callables = ("BACKBONE", "COMPUTE_BACKBONE_SHAPE")
    _arrays = ("MEAN_PIXEL", "RPN_BBOX_STD_DEV", "BBOX_STD_DEV")
    _ignored = IGNORED_SETTINGS

    @property
    def BATCH_SIZE(self) -> int:
        """Images in a batch."""
        return self.IMAGES_PER_GPU * self.GPU_COUNT

    @property
    def IMAGE_SHAPE(self) -> IntArray:
        """`[3]` int64: height, width and channels of the molded square image."""
        side = getattr(self, SQUARE_MODES.get(self.IMAGE_RESIZE_MODE, "IMAGE_MAX_DIM"))
        return np.array([side, side, self.IMAGE_CHANNEL_COUNT])

    @property
    def IMAGE_META_SIZE(self) -> int:
        """Length of the vector with an image's meta data."""
        return sum(IMAGE_META_PARTS.values()) + self.NUM_CLASSES

    # --- checks -----------------------------------------------------------------------------

    def check(self) -> None:
        """Raises ConfigError for the first setting with a value that is not allowed."""
        for names, is_allowed, allowed in _RULES:
            for name in names:
                self._require(name, is_allowed(getattr(self, name)), allowed)
        self._check_backbone()
        self._check_image()

    def _require(self, name: str, is_allowed: bool, allowed: str) -> None:
        if not is_allowed:
            raise ConfigError(f"{name} is {getattr(self, name)!r}; allowed is {allowed}.")

    def _check_backbone(self) -> None:
        if callable(self.BACKBONE):
            self._require("COMPUTE_BACKBONE_SHAPE", callable(self.COMPUTE_BACKBONE_SHAPE),
                          "a callable, since BACKBONE is one")
        else:
            self._require("BACKBONE_STRIDES", list(self.BACKBONE_STRIDES) == _STRIDES,
                          f"{_STRIDES}, those of the networks here; others need a callable "
                          "BACKBONE")

    def _check_image(self) -> None:
        mode = self.IMAGE_RESIZE_MODE
        if mode in SQUARE_MODES:
            name = SQUARE_MODES[mode]
            self._require(name, getattr(self, name) % 64 == 0,
                          f"a multiple of 64 in the mode {mode!r}, so that the pyramid's levels "
                          "halve evenly")
        self._require("IMAGE_MIN_DIM", self.IMAGE_MIN_DIM <= self.IMAGE_MAX_DIM or mode == "crop",
                      f"at most IMAGE_MAX_DIM ({self.IMAGE_MAX_DIM})")
        self._require("MEAN_PIXEL", _is_numbers(self.MEAN_PIXEL, self.IMAGE_CHANNEL_COUNT),
                      f"one number for each of IMAGE_CHANNEL_COUNT ({self.IMAGE_CHANNEL_COUNT})")


def _is_count(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) \
        and bool(value >= 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) \
        and not isinstance(value, bool) and bool(np.isfinite(value))


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_numbers(values: Any, length: int | None = None, *, positive: bool = False) -> bool:
    """Whether it is a flat list of finite numbers, of that length if one is given."""
    try:
        values = np.asarray(values)
    except ValueError:  # nested lists of different lengths
        return False
    return values.ndim == 1 and values.dtype.kind in "iuf" and bool(np.isfinite(values).all()) \
        and len(values) > 0 and length in (None, len(values)) \
        and not (positive and values.min() <= 0)


def _is_name(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip() != ""
                             and not set(value) & set("/\\"))


def _is_loss_weights(value: Any) -> bool:
    known = {*LOSS_NAMES, "mrcnn_mask_loss"}  # scripts of the reference name the mask's, too
    return isinstance(value, dict) and set(value) <= known \
        and all(_is_number(weight) and weight >= 0 for weight in value.values())


def _one_of(names: Sequence[str]) -> tuple[Callable[[Any], bool], str]:
    return lambda value: isinstance(value, str) and value in names, "one of " + ", ".join(names)


# Settings, whether a value is allowed, and what is; what depends on other settings comes after.
_RULES: list[tuple[tuple[str, ...], Callable[[Any], bool], str]] = [
    (("GPU_COUNT", "IMAGES_PER_GPU", "NUM_CLASSES", "TOP_DOWN_PYRAMID_SIZE",
      "FPN_CLASSIF_FC_LAYERS_SIZE", "RPN_ANCHOR_STRIDE", "RPN_TRAIN_ANCHORS_PER_IMAGE",
      "PRE_NMS_LIMIT", "POST_NMS_ROIS_TRAINING", "POST_NMS_ROIS_INFERENCE", "IMAGE_MIN_DIM",
      "IMAGE_MAX_DIM", "IMAGE_CHANNEL_COUNT", "TRAIN_ROIS_PER_IMAGE", "POOL_SIZE",
      "MAX_GT_INSTANCES", "DETECTION_MAX_INSTANCES"),
     _is_count, "a whole number of 1 or more"),
    (("STEPS_PER_EPOCH", "VALIDATION_STEPS"),
     lambda value: value is None or _is_count(value),
     "None (every image once) or a whole number of 1 or more"),
    (("RPN_NMS_THRESHOLD", "DETECTION_MIN_CONFIDENCE", "DETECTION_NMS_THRESHOLD",
      "LEARNING_MOMENTUM", "LABEL_SMOOTHING"),
     _is_share, "a number from 0 to 1"),
    (("ROI_POSITIVE_RATIO",),
     lambda value: _is_share(value) and value > 0, "a number above 0, up to 1"),
    (("WEIGHT_DECAY", "IMAGE_MIN_SCALE", "DETECTION_SOFT_NMS_SIGMA"),
     lambda value: _is_number(value) and value >= 0, "a number of 0 or more"),
    (("LEARNING_RATE",), _is_positive, "a number above 0"),
    (("GRADIENT_CLIP_NORM",),
     lambda value: value is None or _is_positive(value), "None or a number above 0"),
    (("TRAIN_BN", "USE_RPN_ROIS", "PROPOSAL_APPEND_GT", "DETECTION_ALL_CLASSES"),
     lambda value: isinstance(value, (bool, np.bool_)),  # the text "false" would count as true
     "True or False"),
    (("PRECISION",), *_one_of(PRECISIONS)),
    (("NAME",), _is_name, "None or a text that is not empty and has no / or \\ in it"),
    (("BACKBONE",), lambda value: callable(value) or _one_of(BACKBONES)[0](value),
     "one of " + ", ".join(BACKBONES) + ", or a callable"),
    (("COMPUTE_BACKBONE_SHAPE",), lambda value: value is None or callable(value),
     "None or a callable"),
    (("IMAGE_RESIZE_MODE",), *_one_of(RESIZE_MODES)),
    (("BACKBONE_STRIDES", "RPN_ANCHOR_SCALES"),
     lambda value: _is_numbers(value, 5, positive=True), "five numbers above 0, for P2 to P6"),
    (("RPN_ANCHOR_RATIOS",),
     lambda value: _is_numbers(value, positive=True), "a list of numbers above 0"),
    (("RPN_BBOX_STD_DEV", "BBOX_STD_DEV"),
     lambda value: _is_numbers(value, 4, positive=True), "four numbers above 0"),
    (("LOSS_WEIGHTS",), _is_loss_weights,
     "a dict of numbers of 0 or more, with keys out of " + ", ".join(LOSS_NAMES)),
]  # fmt: skip
