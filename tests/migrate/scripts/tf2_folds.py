"""Style of the TensorFlow 2 ports: one detector for each fold, its weights under a name of its own."""
import os
import numpy as np
import mrcnn.model as modellib
from mrcnn import utils
from mrcnn.config import Config


class FoldConfig(Config):
    NAME = "fold"
    NUM_CLASSES = 2
    IMAGES_PER_GPU = 1
    STEPS_PER_EPOCH = 1


class FoldDataset(utils.Dataset):
    def load_fold(self, numbers):
        self.add_class("fold", 1, "square")
        for n in numbers:
            self.add_image("fold", n, "data/images/%d.png" % n)

    def load_mask(self, image_id):
        mask = np.zeros((128, 128, 1), np.uint8)
        mask[10:40, 10:40] = 1
        return mask, np.array([1], dtype=np.int32)


numbers = np.arange(4)
for fold in range(2):
    train, val = FoldDataset(), FoldDataset()
    train.load_fold(numbers[numbers % 2 != fold])
    val.load_fold(numbers[numbers % 2 == fold])
    train.prepare()
    val.prepare()
    model = modellib.MaskRCNN(mode="training", config=FoldConfig(), model_dir="logs")
    weights_path = os.path.join("weights", "fold_%d.hdf5" % fold)
    os.makedirs("weights", exist_ok=True)
    model.keras_model.save_weights(weights_path)
    _, last = (None, weights_path)
    model.load_weights(last, by_name=True)
    print(fold, train.num_images, val.num_images, model.keras_model.count_params())
model = modellib.MaskRCNN(mode="inference", config=FoldConfig(), model_dir="logs")
for fold in range(2):
    model.load_weights(os.path.join("weights", "fold_%d.hdf5" % fold), by_name=True)
    print(len(model.detect([val.load_image(0)])[0]["rois"]))
