"""Settings for urine sediment: small objects, many of them, under an even light."""

from frcnn.config import Config

# Training epochs when --epochs is not given, and how many of them train only the new layers when
# the others start from pretrained weights.
EPOCHS = 20
SYNTHETIC_EPOCHS = 10
HEAD_SHARE = 0.2

# Below this score a detection does not count in the evaluation; higher ones would cut off the
# precision-recall curves.
EVALUATION_MIN_CONFIDENCE = 0.05


class UrinaryConfig(Config):
    """For a user's own micrographs."""

    NAME = "ury"
    BACKBONE = "resnet50"
    IMAGES_PER_GPU = 2
    # A camera's pictures are wider than high: padding them to squares would waste a third.
    IMAGE_RESIZE_MODE = "fit64"
    IMAGE_MIN_DIM = 640
    IMAGE_MAX_DIM = 640
    # Cells are small beside the objects of everyday photographs.
    RPN_ANCHOR_SCALES = (16, 32, 64, 128, 256)
    RPN_ANCHOR_STRIDE = 2
    POST_NMS_ROIS_TRAINING = 1000
    POST_NMS_ROIS_INFERENCE = 500
    # Rare classes: the head learns them before the RPN finds them.
    PROPOSAL_APPEND_GT = True
    MAX_GT_INSTANCES = 200
    DETECTION_MIN_CONFIDENCE = 0.5
    DETECTION_NMS_THRESHOLD = 0.5
    LEARNING_RATE = 0.01
    PRECISION = "auto"


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


# Seven drawn classes need no more; it takes a third off the time of a step on a processor. Only
# from random weights: no weight file of the usual width would fit.
SLIM_NETWORK = {"TOP_DOWN_PYRAMID_SIZE": 128, "FPN_CLASSIF_FC_LAYERS_SIZE": 512}
