"""Style of the TensorFlow 2 ports: growth of GPU memory, callbacks of tf.keras, two stages."""
import os
import numpy as np
import tensorflow as tf
from tensorflow.keras.callbacks import EarlyStopping, ReduceLROnPlateau
from mrcnn import utils
from mrcnn.config import Config
from mrcnn.model import MaskRCNN
import imgaug.augmenters as iaa

tf.compat.v1.disable_eager_execution()
gpus = tf.config.experimental.list_physical_devices('GPU')
for gpu in gpus:
    tf.config.experimental.set_memory_growth(gpu, True)


class MarbleConfig(Config):
    NAME = "marble"
    GPU_COUNT = 1
    IMAGES_PER_GPU = 2
    NUM_CLASSES = 1 + 1
    STEPS_PER_EPOCH = 1
    VALIDATION_STEPS = 1
    LEARNING_RATE = 0.001


class MarbleDataset(utils.Dataset):
    def load_marbles(self, start, count):
        self.add_class("marble", 1, "marble")
        for i in range(start, start + count):
            self.add_image("marble", image_id=i, path=None, seed=i)

    def draw(self, image_id):
        rng = np.random.RandomState(self.image_info[image_id]["seed"])
        y, x = np.mgrid[:128, :128]
        return [((y - rng.randint(30, 90)) ** 2 + (x - rng.randint(30, 90)) ** 2) < 300 for _ in range(2)]

    def load_image(self, image_id):
        image = np.full((128, 128, 3), 90, np.uint8)
        for disk in self.draw(image_id):
            image[disk] = (200, 210, 160)
        return image

    def load_mask(self, image_id):
        mask = np.stack(self.draw(image_id), axis=-1).astype(np.bool)
        return mask, np.ones(mask.shape[-1], np.int32)


train_set, val_set = MarbleDataset(), MarbleDataset()
train_set.load_marbles(0, 2)
train_set.prepare()
val_set.load_marbles(50, 2)
val_set.prepare()
config = MarbleConfig()
model = MaskRCNN(mode='training', model_dir='logs', config=config)
model.load_weights('mask_rcnn_coco.h5', by_name=True,
                   exclude=["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"])
model.train(train_set, val_set, learning_rate=config.LEARNING_RATE, epochs=1, layers='heads',
            augmentation=iaa.Sequential([iaa.Fliplr(0.5), iaa.Flipud(0.5)]),
            custom_callbacks=[EarlyStopping(monitor="val_loss", patience=3),
                              ReduceLROnPlateau(monitor="val_loss")])
print(model.keras_model.metrics_names, model.log_dir)
