"""A small detector and drawn data sets, for the tests of the model."""

import keras
import numpy as np
from keras import layers, ops

from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.data.loader import DetectionSequence
from frcnn.network.layers import BatchNorm

COLORS = ((220, 40, 40), (40, 200, 60), (50, 80, 230))


def array(tensor):
    return ops.convert_to_numpy(tensor)


def small_backbone(input_image, stage5=True, train_bn=True):
    """C1 to C5 by one convolution each."""
    x, stages = layers.Rescaling(1 / 64, name="small_scale")(input_image), []
    for stage, channels in enumerate((8, 16, 16, 24, 32), start=1):
        x = layers.Conv2D(channels, 3, strides=2, padding="same", name=f"small{stage}_conv")(x)
        x = BatchNorm(train_bn=train_bn, name=f"small{stage}_bn")(x)
        x = layers.Activation("relu", name=f"small{stage}_relu")(x)
        stages.append(x)
    return stages


def small_shapes(image_shape):
    return np.array([[-(-side // stride) for side in image_shape[:2]]
                     for stride in (4, 8, 16, 32, 64)])


def small_config(**settings):
    """A detector that trains a step in a fraction of a second."""
    return Config(**{
        "NAME": "small", "BACKBONE": small_backbone, "COMPUTE_BACKBONE_SHAPE": small_shapes,
        "NUM_CLASSES": 4, "IMAGE_MIN_DIM": 128, "IMAGE_MAX_DIM": 128, "TRAIN_BN": True,
        "TOP_DOWN_PYRAMID_SIZE": 32, "FPN_CLASSIF_FC_LAYERS_SIZE": 64, "IMAGES_PER_GPU": 2,
        "RPN_ANCHOR_SCALES": (12, 24, 48, 72, 96), "RPN_TRAIN_ANCHORS_PER_IMAGE": 64,
        "PRE_NMS_LIMIT": 200, "POST_NMS_ROIS_TRAINING": 50, "POST_NMS_ROIS_INFERENCE": 40,
        "TRAIN_ROIS_PER_IMAGE": 24, "MAX_GT_INSTANCES": 8, "DETECTION_MAX_INSTANCES": 20,
        "DETECTION_MIN_CONFIDENCE": 0.0, **settings})


class Rectangles(Dataset):
    """Colored rectangles on gray, one class a color.

    Args:
        shapes: (height, width) of each image.
        empty: ids of images without objects.
    """

    def __init__(self, shapes, empty=()):
        super().__init__()
        rng = np.random.default_rng(3)
        for class_id, name in enumerate(("red", "green", "blue"), start=1):
            self.add_class("drawn", class_id, name)
        self.drawn = []
        for image_id, (height, width) in enumerate(shapes):
            self.add_image("drawn", image_id, None, height=height, width=width)
            self.drawn.append([] if image_id in empty else [
                (class_id, _random_box(rng, height, width, class_id)) for class_id in (1, 2, 3)])
        self.prepare()

    def load_image(self, image_id):
        info = self.image_info[image_id]
        image = np.full((info["height"], info["width"], 3), 170, np.uint8)
        for class_id, (y1, x1, y2, x2) in self.drawn[image_id]:
            image[y1:y2, x1:x2] = COLORS[class_id - 1]
        return image

    def load_boxes(self, image_id):
        boxes = [box for _, box in self.drawn[image_id]]
        ids = [class_id for class_id, _ in self.drawn[image_id]]
        return np.array(boxes, np.float32).reshape(-1, 4), np.array(ids, np.int32)


def _random_box(rng, height, width, place):
    """A box in the place-th third of the width."""
    third = width // 3
    y, x = int(rng.integers(0, height - 40)), third * (place - 1) + int(rng.integers(0, third - 32))
    return y, x, y + int(rng.integers(16, 40)), x + int(rng.integers(16, 32))


def one_batch(config, dataset=None, **options):
    """The inputs of one training batch."""
    side = config.IMAGE_MAX_DIM
    dataset = dataset or Rectangles([(side, side)] * config.BATCH_SIZE)
    return DetectionSequence(dataset, config, shuffle=False, seed=0, **options)[0][0]


def set_random_statistics(model, seed=0):
    """Gives every weight a value of its own, BatchNorm's statistics too."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            set_random_statistics(layer, seed)
        for variable in () if isinstance(layer, keras.Model) else layer.weights:
            shape, name = variable.shape, variable.name
            if name in ("gamma", "moving_variance"):
                variable.assign(rng.uniform(0.5, 1.5, shape))
            elif name in ("beta", "moving_mean", "bias"):
                variable.assign(rng.normal(0, 0.1, shape))


def prefer_objects(mask_rcnn):
    """A random head may call everything background: make that unlikely, and the classes differ."""
    layer = mask_rcnn.keras_model.get_layer("mrcnn_class_logits")
    kernel, bias = layer.get_weights()
    rng = np.random.default_rng(0)
    layer.set_weights([rng.normal(0, 0.5, kernel.shape), bias - [5, 0, 0, 0]])


def noise(shapes):
    """Images without two equal places, so that no scores tie: uint8, of these (height, width)."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (*shape, 3), np.uint8) for shape in shapes]


def gradient(function, x):
    """The gradient of a scalar function of one array, by the backend that runs."""
    if keras.backend.backend() == "jax":
        import jax

        return array(jax.grad(function)(ops.convert_to_tensor(x)))
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return tf.convert_to_tensor(tape.gradient(y, x, unconnected_gradients="zero")).numpy()


def dtype_of(tensor):
    return keras.backend.standardize_dtype(tensor.dtype)
