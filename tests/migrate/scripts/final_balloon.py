"""Style of the final release: train, then detect, with `mrcnn` on the path."""
import os
import sys
import json
import datetime
import numpy as np
import skimage.draw

ROOT_DIR = os.path.abspath("../../")
sys.path.append(ROOT_DIR)  # To find local version of the library
from mrcnn.config import Config
from mrcnn import model as modellib, utils

COCO_WEIGHTS_PATH = os.path.join(os.getcwd(), "mask_rcnn_coco.h5")


class CustomConfig(Config):
    """One class."""
    NAME = "object"
    IMAGES_PER_GPU = 1
    NUM_CLASSES = 1 + 1  # Background + object
    STEPS_PER_EPOCH = 1
    DETECTION_MIN_CONFIDENCE = 0.0
    GPU_COUNT = 1


class CustomDataset(utils.Dataset):
    def load_custom(self, dataset_dir, subset):
        self.add_class("object", 1, "object")
        dataset_dir = os.path.join(dataset_dir, subset)
        annotations = json.load(open(os.path.join(dataset_dir, "via_region_data.json")))
        for a in list(annotations.values()):
            if type(a['regions']) is dict:
                polygons = [r['shape_attributes'] for r in a['regions'].values()]
            else:
                polygons = [r['shape_attributes'] for r in a['regions']]
            image_path = os.path.join(dataset_dir, a['filename'])
            image = skimage.io.imread(image_path)
            height, width = image.shape[:2]
            self.add_image("object", image_id=a['filename'], path=image_path,
                           width=width, height=height, polygons=polygons)

    def load_mask(self, image_id):
        info = self.image_info[image_id]
        if info["source"] != "object" or len(info["polygons"]) == 0:
            return super(self.__class__, self).load_mask(image_id)
        mask = np.zeros([info["height"], info["width"], len(info["polygons"])], dtype=np.uint8)
        for i, p in enumerate(info["polygons"]):
            rr, cc = skimage.draw.polygon(p['all_points_y'], p['all_points_x'])
            mask[rr, cc, i] = 1
        return mask.astype(np.bool), np.ones([mask.shape[-1]], dtype=np.int32)


def train(model, config):
    dataset_train = CustomDataset()
    dataset_train.load_custom("data/via", "train")
    dataset_train.prepare()
    dataset_val = CustomDataset()
    dataset_val.load_custom("data/via", "val")
    dataset_val.prepare()
    model.train(dataset_train, dataset_val,
                learning_rate=config.LEARNING_RATE,
                epochs=1,
                layers='heads')


def evaluate(config):
    from mrcnn import visualize
    dataset = CustomDataset()
    dataset.load_custom("data/via", "val")
    dataset.prepare()
    model = modellib.MaskRCNN(mode="inference", model_dir="logs", config=config)
    weights_path = model.find_last()
    model.load_weights(weights_path, by_name=True)
    for image_id in dataset.image_ids:
        image, image_meta, gt_class_id, gt_bbox, gt_mask = modellib.load_image_gt(
            dataset, config, image_id, use_mini_mask=False)
        results = model.detect([image], verbose=1)
        r = results[0]
        visualize.display_instances(image, r['rois'], r['masks'], r['class_ids'],
                                    dataset.class_names, r['scores'],
                                    title="Predictions", show_bbox=True)


config = CustomConfig()
config.display()
model = modellib.MaskRCNN(mode="training", config=config, model_dir="logs")
model.load_weights(COCO_WEIGHTS_PATH, by_name=True, exclude=[
    "mrcnn_class_logits", "mrcnn_bbox_fc",
    "mrcnn_bbox", "mrcnn_mask"])
train(model, config)
evaluate(config)
