"""Style of the final release: polygons of labelme, several classes, joined by class_map."""
import os
import json
import glob
import numpy as np
from skimage.draw import polygon
from mrcnn import visualize as vis
from mrcnn import utils as mrcnn_utils
from mrcnn.model import MaskRCNN, log, load_image_gt
from mrcnn.config import Config as MaskRcnnConfig

CLASSES = ["square", "bar"]


class LabelmeConfig(MaskRcnnConfig):
    NAME = "labelme"
    NUM_CLASSES = len(CLASSES) + 1
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1

    def __init__(self):
        super(LabelmeConfig, self).__init__()
        self.EPOCHS = 1


class LabelmeDataset(mrcnn_utils.Dataset):
    def load_folder(self, folder):
        for i, name in enumerate(CLASSES):
            self.add_class("labelme", i + 1, name)
        for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
            with open(path) as f:
                content = json.load(f)
            self.add_image("labelme", image_id=os.path.basename(path),
                           path=os.path.join(folder, content["imagePath"]),
                           height=content["imageHeight"], width=content["imageWidth"],
                           shapes=content["shapes"])

    def load_mask(self, image_id):
        info = self.image_info[image_id]
        shapes = info["shapes"]
        if not shapes:
            return super().load_mask(image_id)
        mask = np.zeros((info["height"], info["width"], len(shapes)), dtype=np.uint8)
        class_ids = []
        for i, shape in enumerate(shapes):
            points = np.array(shape["points"])
            rr, cc = polygon(points[:, 1], points[:, 0], mask.shape[:2])
            mask[rr, cc, i] = 1
            class_ids.append(self.class_names.index(shape["label"]))
        return mask.astype(np.bool), np.array(class_ids, np.int32)


config = LabelmeConfig()
dataset = LabelmeDataset()
dataset.load_folder("data/labelme")
dataset.prepare()
for image_id in dataset.image_ids:
    image, meta, class_ids, bbox, _ = load_image_gt(dataset, config, image_id, augment=False, use_mini_mask=True)
    log("bbox", bbox)
    if len(bbox):
        vis.draw_boxes(image, boxes=bbox, captions=[dataset.class_names[i] for i in class_ids])
        for box in bbox:
            image = vis.draw_box(image, box.astype(np.int32), [255, 0, 0])
model = MaskRCNN(mode="inference", config=config, model_dir="logs")
model.load_weights("mask_rcnn_three.h5", by_name=True)
results = model.detect([dataset.load_image(0)] )
r = results[0]
for i in range(len(r["rois"])):
    print(dataset.class_names[r["class_ids"][i]], r["scores"][i], r["rois"][i])
