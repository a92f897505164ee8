"""Config: every setting of the detector, its default and its check, in one class.

Names and defaults are those of the reference (Matterport's Mask R-CNN, final release), without the
settings of the mask head. Subclass it and override class attributes, or pass them by keyword.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from frcnn.allowed_values import (
    LONGEST,
    is_count,
    is_length,
    is_name,
    is_number,
    is_numbers,
    is_positive,
    is_range,
    is_share,
    one_of,
)
from frcnn.arrays import ArrayLike, IntArray
from frcnn.errors import ConfigError
from frcnn.settings import Settings

BACKBONES = ("resnet18", "resnet34", "resnet50", "resnet101", "densenet121", "densenet169",
             "densenet201")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "auto")
BBOX_LOSSES = ("smooth_l1", "giou")
FLIPS = ("horizontal", "vertical", "both")  # both: rotated by 180 degrees
OPTIMIZERS = ("sgd", "adamw")
RESIZE_MODES = ("none", "square", "pad64", "fit64", "crop")
# The modes in which all molded images of training are squares, and the setting with their side.
SQUARE_MODES = {"square": "IMAGE_MAX_DIM", "crop": "IMAGE_MIN_DIM"}
_UNLIMITED_MODES = ("none", "pad64", "crop")  # in which IMAGE_MAX_DIM has no effect
LOSS_NAMES = ("rpn_class_loss", "rpn_bbox_loss", "mrcnn_class_loss", "mrcnn_bbox_loss")
# The parts of the image meta vector, in order, and how many numbers each has; one flag for each
# class follows them.
IMAGE_META_PARTS = {"image_id": 1, "original_image_shape": 3, "image_shape": 3, "window": 4,
                    "scale": 1}
# Of the reference's mask head and of its older releases: accepted in a subclass, without effect.
IGNORED_SETTINGS = ("USE_MINI_MASK", "MINI_MASK_SHAPE", "MASK_POOL_SIZE", "MASK_SHAPE",
                    "IMAGE_PADDING")  # fmt: skip
_STRIDES = [4, 8, 16, 32, 64]  # of P2 to P6 of the networks in BACKBONES; then each twice as large


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
    # COMPUTE_BACKBONE_SHAPE is then required: image_shape -> (height, width) of each level, [5, 2].
    BACKBONE: str | Callable[..., Any] = "resnet101"
    COMPUTE_BACKBONE_SHAPE: Callable[..., Any] | None = None
    BACKBONE_STRIDES: Sequence[int] = list(_STRIDES)  # pixels, of the levels that have anchors
    TOP_DOWN_PYRAMID_SIZE: int = 256  # channels of the pyramid
    FPN_CLASSIF_FC_LAYERS_SIZE: int = 1024  # units of the head's two dense layers

    NUM_CLASSES: int = 1  # count, including the background

    RPN_ANCHOR_SCALES: Sequence[float] = (32, 64, 128, 256, 512)  # side in pixels, a level
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
    IMAGE_MAX_DIM: int = 1024  # pixels, limit of the longer side; False in modes without one
    IMAGE_MIN_SCALE: float = 0  # lowest scale factor, before IMAGE_MAX_DIM; 0: no limit
    IMAGE_CHANNEL_COUNT: int = 3  # channels of the image
    # (low, high): the values that images of more than 8 bits can have, as (0, 4095) for 12 bits and
    # (0, 1) for floats; others are an error, or clipped with (low, high, "clip"). None: what a file
    # states, or all of 16 bits. Not in the reference; see frcnn.data.intensity.
    IMAGE_INTENSITY_RANGE: Sequence[float | str] | None = None
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
    # Box voting: IoU with a detection from which on the candidates of its class are averaged into
    # its box, weighted by score; 0: off. Source: Gidaris and Komodakis 2015, section 3.3.
    DETECTION_BOX_VOTING: float = 0.0
    # Test-time augmentation, some of FLIPS: detects also in copies of the image mirrored in these
    # ways, and fuses what is found in all of them; (): off. See frcnn.inference.fusion.
    DETECTION_FLIPS: Sequence[str] = ()
    DETECTION_FUSION_IOU: float = 0.55  # IoU above which boxes of a class are fused

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
    # Further options that the reference does not have; benchmarks/ACCURACY.md has what they gave.
    ROI_FILL_NEGATIVES: bool = False  # True: negatives fill all rows that positives leave
    ROI_ALIGN_SAMPLES: int = 0  # n: means of n×n samples a bin; 0: the reference's corner grid
    PROPOSALS_PER_LEVEL: int = 0  # candidates of each pyramid level, which NMS treats separately
    BBOX_LOSS: str = "smooth_l1"  # of the head's boxes, one of BBOX_LOSSES
    SMOOTH_L1_BETA: float = 1.0  # difference at which the box losses become linear
    PYRAMID_BATCH_NORM: bool = False  # BatchNorm behind each convolution of the pyramid
    OPTIMIZER: str = "sgd"  # one of OPTIMIZERS
    # True: the L2 penalty is the mean of each weight's squares, as in the reference, so that it
    # hardly acts on large weights; False: their sum, as in other libraries.
    WEIGHT_DECAY_OF_MEAN: bool = True
    EMA_MOMENTUM: float = 0.0  # of the moving average of the weights; 0: none

    # Data recipes, for training only. Not in the reference.
    # Images with rare classes come more often: the share of the images below which a class is
    # rare, 0 to 1; 0: every image once (Gupta et al., "LVIS", 2019); see frcnn.data.repeat.
    REPEAT_THRESHOLD: float = 0.0
    # Mean number of objects that are copied into an image from others of the data set, rare classes
    # more often; 0: none (Dwibedi et al., 2017; Ghiasi et al., 2021); see frcnn.data.pasting.
    PASTE_OBJECTS: float = 0.0
    # (low, high): an image's scale is multiplied by a random factor between these, and the result
    # is cropped or padded to the usual size; None: by 1; see frcnn.data.zoom.
    MULTI_SCALE: Sequence[float] | None = None
    # Share of the images of which a random part around an object is enlarged to the whole size, up
    # to twice; see frcnn.data.zoom.
    CROP_OBJECTS: float = 0.0

    # False: BatchNorm uses its stored statistics; True: the batch's, in training. None, as it is
    # called in the reference, becomes True.
    TRAIN_BN: bool = False
    PRECISION: str = "float32"  # one of PRECISIONS; "auto": see network.precision

    # A cascade of heads: the IoU from which on a box counts as an object, a stage; the first stage
    # is the usual head. (): no cascade. Source: Cai and Vasconcelos 2018 (Cascade R-CNN), whose
    # stages are (0.5, 0.6, 0.7). See network.cascade.
    CASCADE_IOUS: Sequence[float] = ()
    # Attention on each level of the pyramid; see network.attention for what it is and whence.
    PYRAMID_ATTENTION: bool = False

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
        """`[3]` int64: height, width and channels of a molded image, where they are settings.

        That is in the resize mode "square", and in training in "crop". In other modes molded images
        have shapes of their own, which are in their metas; this is then a square of IMAGE_MAX_DIM.
        """
        side = getattr(self, SQUARE_MODES.get(self.IMAGE_RESIZE_MODE, "IMAGE_MAX_DIM"))
        return np.array([side, side, self.IMAGE_CHANNEL_COUNT])

    @property
    def IMAGE_META_SIZE(self) -> int:
        """Length of the vector with an image's meta data."""
        return sum(IMAGE_META_PARTS.values()) + self.NUM_CLASSES

    # --- checks -----------------------------------------------------------------------------

    def check(self) -> None:
        """Raises ConfigError for the first setting with a value that is not allowed.

        Values that mean the same in the reference are replaced first: TRAIN_BN=None by True,
        IMAGE_MIN_SCALE=False by 0, steps that were divided, such as 50.0, by whole numbers.
        """
        if self.TRAIN_BN is None:
            self.TRAIN_BN = True
        if self.IMAGE_MIN_SCALE is False:
            self.IMAGE_MIN_SCALE = 0
        for name in ("STEPS_PER_EPOCH", "VALIDATION_STEPS"):
            if isinstance(steps := getattr(self, name), float) and steps.is_integer():
                setattr(self, name, int(steps))
        for names, is_allowed, allowed in _RULES:
            for name in names:
                self._require(name, is_allowed(getattr(self, name)), allowed)
        self._check_backbone()
        self._check_image()

    def _require(self, name: str, is_allowed: bool, allowed: str) -> None:
        if not is_allowed:
            value = repr(getattr(self, name))
            value = value if len(value) <= 200 else f"{value[:100]}…{value[-50:]}"
            raise ConfigError(f"{name} is {value}; allowed is {allowed}.")

    def _check_backbone(self) -> None:
        if callable(self.BACKBONE):
            self._require("COMPUTE_BACKBONE_SHAPE", callable(self.COMPUTE_BACKBONE_SHAPE),
                          "a callable, since BACKBONE is one")
        else:
            strides = [_STRIDES[0] * 2**level for level in range(len(self.BACKBONE_STRIDES))]
            self._require("BACKBONE_STRIDES", list(self.BACKBONE_STRIDES) == strides,
                          f"{strides}, those of the networks here; others need a callable "
                          "BACKBONE")
        levels = len(self.BACKBONE_STRIDES)
        self._require("RPN_ANCHOR_SCALES", len(self.RPN_ANCHOR_SCALES) == levels,
                      f"one number for each of BACKBONE_STRIDES, so {levels} of them; for another "
                      "number of levels set both")

    def _check_image(self) -> None:
        mode = self.IMAGE_RESIZE_MODE
        if mode in SQUARE_MODES:
            name = SQUARE_MODES[mode]
            self._require(name, getattr(self, name) % 64 == 0,
                          f"a multiple of 64 in the mode {mode!r}, so that the pyramid's levels "
                          "halve evenly")
        self._require("MEAN_PIXEL", is_numbers(self.MEAN_PIXEL, self.IMAGE_CHANNEL_COUNT),
                      f"one number for each of IMAGE_CHANNEL_COUNT ({self.IMAGE_CHANNEL_COUNT})")
        if self.IMAGE_MAX_DIM is False:
            self._require("IMAGE_MAX_DIM", mode in _UNLIMITED_MODES,
                          f"a whole number in the mode {mode!r}; False is for the modes "
                          + ", ".join(_UNLIMITED_MODES))
            return
        self._require("IMAGE_MIN_DIM", self.IMAGE_MIN_DIM <= self.IMAGE_MAX_DIM or mode == "crop",
                      f"at most IMAGE_MAX_DIM ({self.IMAGE_MAX_DIM})")


def _is_loss_weights(value: Any) -> bool:
    known = {*LOSS_NAMES, "mrcnn_mask_loss"}  # scripts of the reference name the mask's, too
    return isinstance(value, dict) and set(value) <= known \
        and all(is_number(weight) and weight >= 0 for weight in value.values())


def _is_cascade(value: Any) -> bool:
    if not is_numbers(value):
        return isinstance(value, (tuple, list)) and len(value) == 0
    ious = np.asarray(value)
    return len(ious) >= 2 and bool(ious[0] == 0.5 and ious[-1] < 1 and (np.diff(ious) > 0).all())


def _is_flips(value: Any) -> bool:
    return isinstance(value, (tuple, list)) \
        and all(isinstance(name, str) and name in FLIPS for name in value) \
        and len(set(value)) == len(value)


# Settings, whether a value is allowed, and what is; what depends on other settings comes after.
_RULES: list[tuple[tuple[str, ...], Callable[[Any], bool], str]] = [
    (("GPU_COUNT", "IMAGES_PER_GPU", "RPN_ANCHOR_STRIDE", "PRE_NMS_LIMIT"),
     is_count, "a whole number of 1 or more, below 2**31"),
    (("NUM_CLASSES", "TOP_DOWN_PYRAMID_SIZE", "FPN_CLASSIF_FC_LAYERS_SIZE",
      "RPN_TRAIN_ANCHORS_PER_IMAGE", "POST_NMS_ROIS_TRAINING", "POST_NMS_ROIS_INFERENCE",
      "IMAGE_MIN_DIM", "IMAGE_CHANNEL_COUNT", "TRAIN_ROIS_PER_IMAGE", "POOL_SIZE",
      "MAX_GT_INSTANCES", "DETECTION_MAX_INSTANCES"),
     is_length, f"a whole number from 1 to {LONGEST:,}"),
    (("IMAGE_MAX_DIM",), lambda value: value is False or is_length(value),
     f"a whole number from 1 to {LONGEST:,}"),
    (("STEPS_PER_EPOCH", "VALIDATION_STEPS"),
     lambda value: value is None or is_count(value),
     "None (every image once) or a whole number of 1 or more"),
    (("RPN_NMS_THRESHOLD", "DETECTION_MIN_CONFIDENCE", "DETECTION_NMS_THRESHOLD",
      "LEARNING_MOMENTUM", "LABEL_SMOOTHING", "DETECTION_FUSION_IOU"),
     is_share, "a number from 0 to 1"),
    (("DETECTION_BOX_VOTING",), is_share, "a number from 0 (off) to 1, such as 0.8"),
    (("DETECTION_FLIPS",), _is_flips,
     "() for none, or a tuple of different names out of " + ", ".join(FLIPS)),
    (("ROI_POSITIVE_RATIO",),
     lambda value: is_share(value) and value > 0, "a number above 0, up to 1"),
    (("ROI_ALIGN_SAMPLES", "PROPOSALS_PER_LEVEL"),
     lambda value: is_count(value) or (value == 0 and not isinstance(value, bool)),
     "a whole number of 0 or more"),
    (("EMA_MOMENTUM",), lambda value: is_share(value) and value < 1, "a number from 0 to below 1"),
    (("BBOX_LOSS",), *one_of(BBOX_LOSSES)),
    (("OPTIMIZER",), *one_of(OPTIMIZERS)),
    (("WEIGHT_DECAY", "IMAGE_MIN_SCALE", "DETECTION_SOFT_NMS_SIGMA"),
     lambda value: is_number(value) and value >= 0, "a number of 0 or more"),
    (("LEARNING_RATE", "SMOOTH_L1_BETA"), is_positive, "a number above 0"),
    (("GRADIENT_CLIP_NORM",),
     lambda value: value is None or is_positive(value), "None or a number above 0"),
    (("TRAIN_BN", "USE_RPN_ROIS", "PROPOSAL_APPEND_GT", "DETECTION_ALL_CLASSES",
      "ROI_FILL_NEGATIVES", "PYRAMID_BATCH_NORM", "WEIGHT_DECAY_OF_MEAN",
      "PYRAMID_ATTENTION"),
     lambda value: isinstance(value, (bool, np.bool_)),  # the text "false" would count as true
     "True or False"),
    # Data recipes.
    (("REPEAT_THRESHOLD", "CROP_OBJECTS"), is_share, "a number from 0 (off) to 1"),
    (("PASTE_OBJECTS",),
     lambda value: is_number(value) and value >= 0, "a number of 0 (off) or more"),
    (("MULTI_SCALE",),
     lambda value: value is None or (is_numbers(value, 2, positive=True)
                                     and bool(value[0] <= value[1])),
     "None or two numbers above 0, the lower one first, such as (0.7, 1.0)"),
    (("IMAGE_INTENSITY_RANGE",),
     lambda value: value is None or is_range(value),
     "None or two numbers, the lowest and the highest possible value, such as (0, 4095)"),
    (("PRECISION",), *one_of(PRECISIONS)),
    (("NAME",), is_name,
     "None or a text that is not empty, can be printed and has no / or \\ in it"),
    (("BACKBONE",), lambda value: callable(value) or one_of(BACKBONES)[0](value),
     "one of " + ", ".join(BACKBONES) + ", or a callable"),
    (("COMPUTE_BACKBONE_SHAPE",), lambda value: value is None or callable(value),
     "None or a callable"),
    (("IMAGE_RESIZE_MODE",), *one_of(RESIZE_MODES)),
    (("BACKBONE_STRIDES", "RPN_ANCHOR_SCALES"),
     lambda value: is_numbers(value, positive=True),
     "a list of numbers above 0, one for each level of the pyramid, P2 first"),
    (("RPN_ANCHOR_RATIOS",),
     lambda value: is_numbers(value, positive=True), "a list of numbers above 0"),
    (("RPN_BBOX_STD_DEV", "BBOX_STD_DEV"),
     lambda value: is_numbers(value, 4, positive=True), "four numbers above 0"),
    (("LOSS_WEIGHTS",), _is_loss_weights,
     "a dict of numbers of 0 or more, with keys out of " + ", ".join(LOSS_NAMES)),
    (("CASCADE_IOUS",), _is_cascade,
     "() for no cascade, or two or more rising IoUs, the first 0.5 and the last below 1, such as "
     "(0.5, 0.6, 0.7)"),
]  # fmt: skip
