"""The rows of the accuracy table: which settings differ, on which data, for how many epochs."""

from dataclasses import dataclass, field, replace

# Anchors that `frcnn anchors` recommends at these sizes.
_BCCD_RATIOS, _UMID_RATIOS = (0.8, 1, 1.25), (0.67, 1, 1.5)


@dataclass(frozen=True)
class Task:
    """A data set, its size and its length of training.

    Attributes:
        folder: name of the data set's folder.
        size: pixels of the images' longer side.
        epochs: passes through the images.
        anchors: settings of the anchors that fit it.
    """

    folder: str
    size: int
    epochs: int
    anchors: dict


def _anchors(scales, ratios):
    return {"RPN_ANCHOR_STRIDE": 1, "RPN_ANCHOR_SCALES": scales, "RPN_ANCHOR_RATIOS": ratios}


_BCCD_ANCHORS = _anchors((19, 38.1, 76.1, 152.2, 304.4), _BCCD_RATIOS)  # at 480 pixels
TASKS = {
    # Full size and length, as the goals ask for.
    "bccd": Task("bccd", 480, 10, _BCCD_ANCHORS),
    "umid": Task("umid", 640, 4, _anchors((16, 32, 64, 128, 256), _UMID_RATIOS)),
    # Longer: half an hour and an hour of two processor cores.
    "bccd-16": Task("bccd", 480, 16, _BCCD_ANCHORS),
    "bccd-32": Task("bccd", 480, 32, _BCCD_ANCHORS),
    # Shorter and smaller, for a first look at many rows.
    "bccd-6": Task("bccd", 480, 6, _BCCD_ANCHORS),
    "bccd-3": Task("bccd", 480, 3, _BCCD_ANCHORS),
    "bccd-small": Task("bccd", 320, 6, _anchors((13.5, 26.9, 53.8, 107.6, 215.3), _BCCD_RATIOS)),
}


@dataclass(frozen=True)
class Row:
    """A change, and what it is made of.

    Attributes:
        text: what differs, as the table says it.
        settings: of Config.
        fitted: whether the anchors are those that fit the data.
        schedule, augmentation: as of `MaskRCNN.train`.
    """

    text: str
    settings: dict = field(default_factory=dict)
    fitted: bool = True
    schedule: str = "warmup_step"
    augmentation: str = "flip"

    def on(self, task):
        """All settings for a Task."""
        return {**(task.anchors if self.fitted else {}), **self.settings}


ADAMW = {"OPTIMIZER": "adamw", "LEARNING_RATE": 2e-4, "WEIGHT_DECAY": 0.05}
ROIS = {"ROI_ALIGN_SAMPLES": 2, "ROI_FILL_NEGATIVES": True}
# The settings of the recipe "default" (`frcnn.cli.recipes`).
RECIPE = {**ADAMW, **ROIS, "PYRAMID_BATCH_NORM": True}
_GIOU_WEIGHTS = {"rpn_class_loss": 1.0, "rpn_bbox_loss": 1.0, "mrcnn_class_loss": 1.0,
                 "mrcnn_bbox_loss": 2.0}

# One change at a time, from the sample's settings with fitted anchors.
CHANGES = {
    "sample": Row("the sample's settings, its own anchors", fitted=False),
    "anchors": Row("anchors that fit the data, at every cell"),
    "fill": Row("all places of the head's batch filled with negatives",
                {"ROI_FILL_NEGATIVES": True}),
    "align": Row("RoI align by bins of 2×2 samples", {"ROI_ALIGN_SAMPLES": 2}),
    "norm": Row("BatchNorm in the pyramid", {"PYRAMID_BATCH_NORM": True}),
    "adamw": Row("AdamW, rate 2e-4, decay 0.05", ADAMW),
    "cascade": Row("cascade of three stages", {"CASCADE_IOUS": (0.5, 0.6, 0.7)}),
    "attention": Row("attention on the pyramid", {"PYRAMID_ATTENTION": True}),
    "levels": Row("1,000 proposals from each level", {"PROPOSALS_PER_LEVEL": 1000}),
    "giou": Row("GIoU loss for the head's boxes, weight 2",
                {"BBOX_LOSS": "giou", "LOSS_WEIGHTS": _GIOU_WEIGHTS}),
    "beta": Row("smooth L1 with beta 1/9", {"SMOOTH_L1_BETA": 1 / 9}),
    "decay": Row("plain L2 penalty of 1e-4", {"WEIGHT_DECAY_OF_MEAN": False}),
    "single": Row("one image a step, rate 0.005",
                  {"IMAGES_PER_GPU": 1, "LEARNING_RATE": 0.005}),
    "rate": Row("SGD with a rate of 0.02", {"LEARNING_RATE": 0.02}),
    "average": Row("moving average of the weights, 0.99", {"EMA_MOMENTUM": 0.99}),
    "rois": Row("400 RoIs an image", {"TRAIN_ROIS_PER_IMAGE": 400}),
    "repeat": Row("repeat-factor sampling, threshold 0.5", {"REPEAT_THRESHOLD": 0.5}),
    "paste": Row("4 objects pasted into an image", {"PASTE_OBJECTS": 4.0}),
    "scales": Row("scales from 0.8 to 1.25", {"MULTI_SCALE": (0.8, 1.25)}),
    "crops": Row("crops around objects, of 3 in 10 images", {"CROP_OBJECTS": 0.3}),
    "cosine": Row("learning rate along a cosine", schedule="warmup_cosine"),
    "flips": Row("mirrored along both axes", augmentation="flips"),
    "microscopy": Row("augmentation 'microscopy'", augmentation="microscopy"),
}
# The recipe, and what it is without one of its parts or with one more.
RECIPES = {"recipe": Row("AdamW, BatchNorm in the pyramid, filled places, bins of 2×2", RECIPE)}
RECIPES.update({
    f"recipe+{name}": replace(row, text=f"… and {row.text}", settings={**RECIPE, **row.settings})
    for name, row in CHANGES.items()
    if name in ("cascade", "attention", "average", "paste", "repeat", "scales", "crops", "cosine",
                "flips", "microscopy", "giou")})
RECIPES.update({
    f"recipe-{name}": Row(f"… without {CHANGES[name].text}", {
        key: value for key, value in RECIPE.items() if key not in CHANGES[name].settings})
    for name in ("fill", "align", "norm", "adamw")})
for _rate in ("1e-4", "4e-4"):
    RECIPES[f"recipe {_rate}"] = Row(f"… with a rate of {_rate}",
                                     {**RECIPE, "LEARNING_RATE": float(_rate)})
ROWS = {**CHANGES, **RECIPES}
