"""Settings for urine sediment: small objects, many of them, under an even light."""

from frcnn.cli.sample import SmallObjectsConfig

# Training epochs when --epochs is not given.
EPOCHS = 20
SYNTHETIC_EPOCHS = 10
PRETRAINING_EPOCHS = 10  # of --model synthetic


class UrinaryConfig(SmallObjectsConfig):
    """For a user's own micrographs."""

    NAME = "ury"


class SyntheticConfig(UrinaryConfig):
    """For the synthetic micrographs, small enough to learn on two processor cores."""

    IMAGE_MIN_DIM = 320
    IMAGE_MAX_DIM = 320
    IMAGE_RESIZE_MODE = "square"
    RPN_ANCHOR_SCALES = (20, 40, 80, 160, 320)
    TRAIN_ROIS_PER_IMAGE = 100
    POST_NMS_ROIS_TRAINING = 500
    POST_NMS_ROIS_INFERENCE = 300
    PROPOSAL_APPEND_GT = False  # the drawn classes are all common
    MAX_GT_INSTANCES = 50


# Enough for seven drawn classes; a step on a processor takes a third less time. Only for training
# from random weights, since pretrained detectors are wider.
SLIM_NETWORK = {"TOP_DOWN_PYRAMID_SIZE": 128, "FPN_CLASSIF_FC_LAYERS_SIZE": 512}
