"""Config: every setting of the detector, its default and its check, in one class.

Names and defaults are those of the reference (Matterport's Mask R-CNN, final release), less the
settings of the mask head. Subclass it and override class attributes, or pass them by keyword.
"""

import importlib
import inspect
import json
from pathlib import Path
from types import MethodType

import numpy as np

from frcnn.errors import ConfigError

BACKBONES = ("resnet50", "resnet101", "densenet121", "densenet169", "densenet201")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "auto")
RESIZE_MODES = ("none", "square", "pad64", "fit64", "crop")
# The modes in which all molded images of training are squares, and the setting with their side.
SQUARE_MODES = {"square": "IMAGE_MAX_DIM", "crop": "IMAGE_MIN_DIM"}
LOSS_NAMES = ("rpn_class_loss", "rpn_bbox_loss", "mrcnn_class_loss", "mrcnn_bbox_loss")


class Config:
    """Settings of one detector. Instances check themselves when built.

    Args:
        **settings: upper-case settings that replace the class's own, as
            `Config(NUM_CLASSES=4, IMAGE_MAX_DIM=512)`.

    Derived attributes, set when built: `BATCH_SIZE` (= IMAGES_PER_GPU · GPU_COUNT), `IMAGE_SHAPE`
    (int64 `[3]`: height, width, channels of the molded square image) and `IMAGE_META_SIZE`.

    Raises:
        ConfigError: a setting is unknown or its value is not allowed; the message names the
            setting, the value and what is allowed.
    """

    NAME = None
    GPU_COUNT = 1
    IMAGES_PER_GPU = 2

    # None: every image once an epoch. A number: that many steps, going on through the data.
    STEPS_PER_EPOCH = None
    VALIDATION_STEPS = None

    # One of BACKBONES, or a callable like `frcnn.model.resnet_graph`'s result for a new family;
    # a callable needs COMPUTE_BACKBONE_SHAPE(image_shape) -> [5, (height, width)]. Both are stored
    # by import path, so they should be functions of a module.
    BACKBONE = "resnet101"
    COMPUTE_BACKBONE_SHAPE = None
    BACKBONE_STRIDES = [4, 8, 16, 32, 64]
    TOP_DOWN_PYRAMID_SIZE = 256
    FPN_CLASSIF_FC_LAYERS_SIZE = 1024

    # Classes, background included.
    NUM_CLASSES = 1

    # Anchor side lengths in pixels, one for each pyramid level, and width/height ratios.
    RPN_ANCHOR_SCALES = (32, 64, 128, 256, 512)
    RPN_ANCHOR_RATIOS = [0.5, 1, 2]
    RPN_ANCHOR_STRIDE = 1
    RPN_NMS_THRESHOLD = 0.7
    RPN_TRAIN_ANCHORS_PER_IMAGE = 256
    RPN_BBOX_STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])
    PRE_NMS_LIMIT = 6000
    POST_NMS_ROIS_TRAINING = 2000
    POST_NMS_ROIS_INFERENCE = 1000

    IMAGE_RESIZE_MODE = "square"
    IMAGE_MIN_DIM = 800
    IMAGE_MAX_DIM = 1024
    IMAGE_MIN_SCALE = 0
    IMAGE_CHANNEL_COUNT = 3
    MEAN_PIXEL = np.array([123.7, 116.8, 103.9])

    TRAIN_ROIS_PER_IMAGE = 200
    ROI_POSITIVE_RATIO = 0.33
    POOL_SIZE = 7
    MAX_GT_INSTANCES = 100
    BBOX_STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])

    DETECTION_MAX_INSTANCES = 100
    DETECTION_MIN_CONFIDENCE = 0.7
    DETECTION_NMS_THRESHOLD = 0.3

    LEARNING_RATE = 0.001
    LEARNING_MOMENTUM = 0.9
    WEIGHT_DECAY = 0.0001
    GRADIENT_CLIP_NORM = 5.0
    LOSS_WEIGHTS = dict.fromkeys(LOSS_NAMES, 1.0)
    LABEL_SMOOTHING = 0.0

    # False trains the head on boxes drawn on the host instead of on the RPN's proposals.
    USE_RPN_ROIS = True
    # True adds the true boxes to the proposals that train the head, so that it learns a class that
    # the young RPN does not find yet. The reference does not.
    PROPOSAL_APPEND_GT = False
    # False: BatchNorm runs on its stored statistics. True: on the batch's, and updates them.
    TRAIN_BN = False
    PRECISION = "float32"

    def __init__(self, **settings):
        for name, value in settings.items():
            if name not in self.setting_names():
                raise ConfigError(f"Config has no setting {name!r}; Config().display() lists "
                                  "all.")
            setattr(self, name, value)
        self._free_functions()
        self.check()
        self._derive()

    @classmethod
    def setting_names(cls):
        """Names of all settings, in alphabetical order."""
        return [name for name in dir(cls) if name.isupper()]

    def _free_functions(self):
        """A function that a class merely names, as `BACKBONE = build`, is no method of it."""
        for name in _CALLABLES:
            value = getattr(self, name)
            if inspect.ismethod(value) and value.__self__ is self:
                owner = next(base for base in type(self).__mro__ if name in vars(base))
                if not value.__qualname__.startswith(owner.__qualname__ + "."):
                    setattr(self, name, value.__func__)

    def _derive(self):
        self.BATCH_SIZE = self.IMAGES_PER_GPU * self.GPU_COUNT
        side = getattr(self, SQUARE_MODES.get(self.IMAGE_RESIZE_MODE, "IMAGE_MAX_DIM"))
        self.IMAGE_SHAPE = np.array([side, side, self.IMAGE_CHANNEL_COUNT])
        # id, original shape, molded shape, window, scale, one flag for each class
        self.IMAGE_META_SIZE = 1 + 3 + 3 + 4 + 1 + self.NUM_CLASSES

    # --- checks -----------------------------------------------------------------------------

    def check(self):
        """Raises ConfigError for the first setting with a value that is not allowed."""
        for name in _POSITIVE_INTEGERS:
            self._require(name, _is_integer(getattr(self, name)) and getattr(self, name) >= 1,
                          "a whole number of 1 or more")
        for name in ("STEPS_PER_EPOCH", "VALIDATION_STEPS"):
            value = getattr(self, name)
            self._require(name, value is None or (_is_integer(value) and value >= 1),
                          "None (every image once) or a whole number of 1 or more")
        for name in _FRACTIONS:
            self._require(name, _is_number(getattr(self, name)) and 0 <= getattr(self, name) <= 1,
                          "a number from 0 to 1")
        self._require("ROI_POSITIVE_RATIO", self.ROI_POSITIVE_RATIO > 0,
                      "a number above 0, up to 1")
        for name in ("WEIGHT_DECAY", "IMAGE_MIN_SCALE"):
            self._require(name, _is_number(getattr(self, name)) and getattr(self, name) >= 0,
                          "a number of 0 or more")
        self._require("LEARNING_RATE", _is_number(self.LEARNING_RATE) and self.LEARNING_RATE > 0,
                      "a number above 0")
        clip = self.GRADIENT_CLIP_NORM
        self._require("GRADIENT_CLIP_NORM", clip is None or (_is_number(clip) and clip > 0),
                      "None or a number above 0")
        self._require("PRECISION", self.PRECISION in PRECISIONS, "one of " + ", ".join(PRECISIONS))
        for name in _FLAGS:  # the text "false" would count as true
            self._require(name, isinstance(getattr(self, name), (bool, np.bool_)), "True or False")
        self._check_name()
        self._check_backbone()
        self._check_image()
        self._check_anchors()
        self._check_losses()

    def _require(self, name, fine, allowed):
        if not fine:
            raise ConfigError(f"{name} is {getattr(self, name)!r}; allowed is {allowed}.")

    def _check_name(self):
        name = self.NAME  # part of folders' and files' names
        self._require("NAME", name is None or (isinstance(name, str) and name.strip() != ""
                                               and not set(name) & set("/\\")),
                      "None or a text that is not empty and has no / or \\ in it")

    def _check_backbone(self):
        self._require("BACKBONE", self.BACKBONE in BACKBONES if isinstance(self.BACKBONE, str)
                      else callable(self.BACKBONE),
                      "one of " + ", ".join(BACKBONES) + ", or a callable")
        if not isinstance(self.BACKBONE, str):
            self._require("COMPUTE_BACKBONE_SHAPE", callable(self.COMPUTE_BACKBONE_SHAPE),
                          "a callable, since BACKBONE is one")

    def _check_image(self):
        mode = self.IMAGE_RESIZE_MODE
        self._require("IMAGE_RESIZE_MODE", mode in RESIZE_MODES,
                      "one of " + ", ".join(RESIZE_MODES))
        if mode in SQUARE_MODES:
            name = SQUARE_MODES[mode]
            self._require(name, getattr(self, name) % 64 == 0,
                          f"a multiple of 64 in the mode {mode!r}, so that the pyramid's levels "
                          "halve evenly")
        self._require("IMAGE_MIN_DIM", self.IMAGE_MIN_DIM <= self.IMAGE_MAX_DIM or mode == "crop",
                      f"at most IMAGE_MAX_DIM ({self.IMAGE_MAX_DIM})")
        self._require("MEAN_PIXEL", _is_numbers(self.MEAN_PIXEL, self.IMAGE_CHANNEL_COUNT),
                      f"one number for each of IMAGE_CHANNEL_COUNT ({self.IMAGE_CHANNEL_COUNT})")

    def _check_anchors(self):
        self._require("BACKBONE_STRIDES", _is_numbers(self.BACKBONE_STRIDES, 5, above_zero=True),
                      "five numbers above 0, for P2 to P6")
        self._require("BACKBONE_STRIDES",
                      callable(self.BACKBONE) or list(self.BACKBONE_STRIDES) == _STRIDES,
                      f"{_STRIDES}, those of the networks here; others need a callable BACKBONE")
        self._require("RPN_ANCHOR_SCALES", _is_numbers(self.RPN_ANCHOR_SCALES, 5, above_zero=True),
                      "five numbers above 0, for P2 to P6")
        self._require("RPN_ANCHOR_RATIOS", _is_numbers(self.RPN_ANCHOR_RATIOS, above_zero=True),
                      "a list of numbers above 0")
        for name in ("RPN_BBOX_STD_DEV", "BBOX_STD_DEV"):
            self._require(name, _is_numbers(getattr(self, name), 4, above_zero=True),
                          "four numbers above 0")

    def _check_losses(self):
        weights = self.LOSS_WEIGHTS
        known = set(LOSS_NAMES) | {"mrcnn_mask_loss"}  # older scripts still name the mask's
        self._require("LOSS_WEIGHTS", isinstance(weights, dict) and set(weights) <= known
                      and all(_is_number(value) and value >= 0 for value in weights.values()),
                      "a dict of numbers of 0 or more, with keys out of " + ", ".join(LOSS_NAMES))

    # --- out and in -------------------------------------------------------------------------

    def to_dict(self):
        """All settings and derived attributes, by name."""
        names = set(self.setting_names()) | {name for name in vars(self) if name.isupper()}
        return {name: getattr(self, name) for name in sorted(names)}

    def replaced(self, **settings):
        """A copy with some settings replaced; raises ConfigError as the constructor does."""
        kept = {name: getattr(self, name) for name in self.setting_names()}
        return type(self)(**{**kept, **settings})

    def display(self):
        """Prints all settings, one a line."""
        print("\nConfigurations:")
        for name, value in self.to_dict().items():
            print(f"{name:30} {value}")
        print()

    def to_json(self):
        """The settings as a JSON text; derived attributes are left out, callables named by path."""
        settings = {name: _to_plain(name, getattr(self, name)) for name in self.setting_names()}
        return json.dumps(settings, indent=2, default=_plain_part)

    @classmethod
    def from_json(cls, text):
        """The Config that `to_json` wrote.

        Settings that this version does not know are ignored, so that older files stay readable.

        Raises:
            ConfigError: the text is not a JSON object, or a value is not allowed.
        """
        try:
            settings = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"The configuration is not JSON: {error}.") from error
        if not isinstance(settings, dict):
            raise ConfigError("The configuration is not a JSON object of settings.")
        known = {name: _from_plain(name, value) for name, value in settings.items()
                 if name in cls.setting_names()}
        return cls(**known)

    def save(self, path):
        """Writes `to_json()` to a file."""
        Path(path).write_text(self.to_json() + "\n", encoding="utf-8")


_POSITIVE_INTEGERS = (
    "GPU_COUNT", "IMAGES_PER_GPU", "NUM_CLASSES", "TOP_DOWN_PYRAMID_SIZE",
    "FPN_CLASSIF_FC_LAYERS_SIZE", "RPN_ANCHOR_STRIDE", "RPN_TRAIN_ANCHORS_PER_IMAGE",
    "PRE_NMS_LIMIT", "POST_NMS_ROIS_TRAINING", "POST_NMS_ROIS_INFERENCE", "IMAGE_MIN_DIM",
    "IMAGE_MAX_DIM", "IMAGE_CHANNEL_COUNT", "TRAIN_ROIS_PER_IMAGE", "POOL_SIZE",
    "MAX_GT_INSTANCES", "DETECTION_MAX_INSTANCES",
)  # fmt: skip
_FRACTIONS = (
    "RPN_NMS_THRESHOLD", "ROI_POSITIVE_RATIO", "DETECTION_MIN_CONFIDENCE",
    "DETECTION_NMS_THRESHOLD", "LEARNING_MOMENTUM", "LABEL_SMOOTHING",
)  # fmt: skip
_FLAGS = ("TRAIN_BN", "USE_RPN_ROIS", "PROPOSAL_APPEND_GT")
_STRIDES = [4, 8, 16, 32, 64]
_ARRAYS = ("MEAN_PIXEL", "RPN_BBOX_STD_DEV", "BBOX_STD_DEV")
_CALLABLES = ("BACKBONE", "COMPUTE_BACKBONE_SHAPE")


def _is_integer(value):
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _is_number(value):
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) \
        and np.isfinite(value)


def _is_numbers(values, length=None, above_zero=False):
    """Whether it is a flat list of finite numbers, of that length if one is given."""
    try:
        values = np.asarray(values)
    except ValueError:  # nested lists of different lengths
        return False
    return values.ndim == 1 and values.dtype.kind in "iuf" and bool(np.isfinite(values).all()) \
        and len(values) > 0 and length in (None, len(values)) \
        and not (above_zero and values.min() <= 0)


def _to_plain(name, value):
    if callable(value):
        if not hasattr(value, "__qualname__"):
            raise ConfigError(f"{name} is {value!r}, which has no name to store it by; allowed is "
                              "a function or class of a module.")
        return f"{value.__module__}:{value.__qualname__}"
    return value


def _plain_part(value):
    """What JSON does not know, also inside lists and dicts."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else str(value)


def _from_plain(name, value):
    if name in _ARRAYS:
        try:
            return np.array(value)
        except ValueError:  # lists of different lengths
            raise ConfigError(f"{name} is {value!r}; allowed is a flat list of numbers.") from None
    if name in _CALLABLES and isinstance(value, str) and ":" in value:
        return _import_callable(name, value)
    return value


def _import_callable(name, path):
    module, _, attribute = path.partition(":")
    owner, found = None, None
    try:
        found = importlib.import_module(module)
        for part in attribute.split("."):
            owner, found = found, getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{name} names {path!r}, which cannot be imported: {error}.") from error
    if inspect.isfunction(found) and inspect.isclass(owner) and issubclass(owner, Config) \
            and not isinstance(inspect.getattr_static(owner, part), staticmethod):
        return MethodType(found, owner())
    return found
