"""Style of forks: the package inside another one, and its modules by their whole names."""
import os
import numpy as np
import lib.Mask_RCNN.mrcnn.utils as utils
from lib.Mask_RCNN.mrcnn.config import Config
from lib.Mask_RCNN.mrcnn import model as modellib
import mrcnn.visualize
import mrcnn.model


class ForkConfig(Config):
    NAME = "fork"
    BACKBONE = "resnet18" if os.environ.get("SMALL") else Config.BACKBONE
    NUM_CLASSES = 2
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    IMAGE_RESIZE_MODE = "square"


class ForkDataset(utils.Dataset):
    def load(self):
        self.add_class("fork", 1, "thing")
        for i in range(2):
            self.add_image("fork", image_id=i, path=os.path.join("data", "images", "%d.png" % i))

    def load_mask(self, image_id):
        mask = np.zeros((128, 128, 1), dtype="bool")
        mask[30:60, 40:80] = 1
        return mask, np.array([1])


data = ForkDataset()
data.load()
data.prepare()
config = ForkConfig()
model = mrcnn.model.MaskRCNN("inference", config, "logs")
model.load_weights("mask_rcnn_two.h5", by_name=True)
r = model.detect([data.load_image(0)], verbose=0)[0]
mrcnn.visualize.display_instances(data.load_image(0), r["rois"], r["masks"], r["class_ids"],
                                  data.class_names, r["scores"])
molded, metas, windows = model.mold_inputs([data.load_image(0)])
mrcnn.model.log("molded", molded)
print(modellib.parse_image_meta(metas)["window"])
