"""Style of 2017 and 2018: nuclei with one mask file an object, a table of what is found."""
import os
import numpy as np
import skimage.io
import tensorflow as tf
from keras.backend.tensorflow_backend import set_session
from config import Config
import utils
import model as modellib

session_config = tf.ConfigProto()
session_config.gpu_options.per_process_gpu_memory_fraction = 0.9
set_session(tf.Session(config=session_config))


class NucleiConfig(Config):
    NAME = "nuclei"
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    NUM_CLASSES = 1 + 1
    IMAGE_MIN_DIM = 128
    IMAGE_MAX_DIM = 128
    USE_MINI_MASK = True
    MINI_MASK_SHAPE = (28, 28)
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    MAX_GT_INSTANCES = 16
    DETECTION_MAX_INSTANCES = 16
    MEAN_PIXEL = np.array([43.53, 39.56, 48.22])


class NucleiDataset(utils.Dataset):
    def load_nuclei(self, folder):
        self.add_class("nuclei", 1, "nucleus")
        for name in sorted(os.listdir(folder)):
            self.add_image("nuclei", image_id=name, folder=os.path.join(folder, name),
                           path=os.path.join(folder, name, "images", name + ".png"))

    def load_image(self, image_id):
        return skimage.io.imread(self.image_info[image_id]["path"])[..., :3]

    def load_mask(self, image_id):
        folder = os.path.join(self.image_info[image_id]["folder"], "masks")
        masks = [skimage.io.imread(os.path.join(folder, name)).astype(np.bool)
                 for name in sorted(os.listdir(folder))]
        if not masks:
            return super(NucleiDataset, self).load_mask(image_id)
        mask = np.stack(masks, axis=-1)
        return mask, np.ones([mask.shape[-1]], dtype=np.int32)


dataset = NucleiDataset()
dataset.load_nuclei(os.path.join("data", "nuclei"))
dataset.prepare()
config = NucleiConfig()
model = modellib.MaskRCNN(mode="inference", config=config, model_dir="logs")
model.load_weights("mask_rcnn_two.h5", by_name=True)

counts = []
for image_id in dataset.image_ids:
    image = dataset.load_image(image_id)
    mask, class_ids = dataset.load_mask(image_id)
    bbox = utils.extract_bboxes(mask)
    results = model.detect([image], verbose=0)
    r = results[0]
    print("found", r['masks'].shape)
    counts.append((r['masks'].shape[-1], len(bbox)))
with open("counts.csv", "w") as f:
    for found, true in counts:
        f.write("%d,%d\n" % (found, true))
