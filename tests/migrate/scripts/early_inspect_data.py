"""Style of 2017: a data set's statistics, mini masks and targets, from a notebook saved as a script."""
# coding: utf-8

# In[1]:

import os
import sys
import itertools
import math
import random
from collections import OrderedDict
import numpy as np
import matplotlib.pyplot as plt
import matplotlib.patches as patches

import utils
import visualize
from visualize import display_images
import model as modellib
from model import log
from config import Config

# In[2]:


class OwnConfig(Config):
    NAME = "own"
    NUM_CLASSES = 2
    IMAGES_PER_GPU = 1
    GPU_COUNT = 1
    IMAGE_MIN_DIM = 128
    IMAGE_MAX_DIM = 128


class OwnDataset(utils.Dataset):
    def load_own(self, count):
        self.add_class("own", 1, "square")
        for i in range(count):
            self.add_image("own", i, None)

    def load_image(self, image_id):
        image = np.full((96, 128, 3), 120, np.uint8)
        image[20:50, 30:70] = 220
        return image

    def load_mask(self, image_id):
        mask = np.zeros((96, 128, 1), np.bool)
        mask[20:50, 30:70, 0] = True
        return mask, np.array([1], np.int32)


config = OwnConfig()
dataset = OwnDataset()
dataset.load_own(3)
dataset.prepare()
print("Image Count: {}".format(len(dataset.image_ids)))
print("Class Count: {}".format(dataset.num_classes))
for i, info in enumerate(dataset.class_info):
    print("{:3}. {:50}".format(i, info['name']))

# In[3]: boxes from masks

image_id = random.choice(dataset.image_ids)
image = dataset.load_image(image_id)
mask, class_ids = dataset.load_mask(image_id)
bbox = utils.extract_bboxes(mask)
print("image_id ", image_id, dataset.image_reference(image_id))
log("image", image)
log("mask", mask)
log("class_ids", class_ids)
log("bbox", bbox)
visualize.display_instances(image, bbox, mask, class_ids, dataset.class_names)

# In[4]: resized

original_shape = image.shape
image, window, scale, padding = utils.resize_image(
    image, min_dim=config.IMAGE_MIN_DIM, max_dim=config.IMAGE_MAX_DIM, padding=config.IMAGE_PADDING)
log("image", image)
print("Original shape: ", original_shape, window, scale, padding)

# In[5]: mini masks

image, image_meta, class_ids, bbox, mask = modellib.load_image_gt(
    dataset, config, image_id, use_mini_mask=False)
log("image", image)
log("mask", mask)
display_images([image] + [image[:, :, i] for i in range(3)])
visualize.display_instances(image, bbox, mask, class_ids, dataset.class_names)
image, image_meta, class_ids, bbox, mask = modellib.load_image_gt(
    dataset, config, image_id, augment=True, use_mini_mask=True)
log("mask", mask)

# In[6]: anchors

anchors = utils.generate_pyramid_anchors(
    config.RPN_ANCHOR_SCALES, config.RPN_ANCHOR_RATIOS,
    modellib.compute_backbone_shapes(config, config.IMAGE_SHAPE),
    config.BACKBONE_STRIDES, config.RPN_ANCHOR_STRIDE)
print("Count: ", anchors.shape[0])

# In[7]: the generator

random_rois = 50
g = modellib.data_generator(
    dataset, config, shuffle=True, random_rois=random_rois,
    batch_size=2,
    detection_targets=True)
[normalized_images, image_meta, rpn_match, rpn_bbox, gt_class_ids, gt_boxes, gt_masks, rpn_rois, rois], \
    [mrcnn_class_ids, mrcnn_bbox, mrcnn_masks] = next(g)
log("rois", rois)
log("mrcnn_class_ids", mrcnn_class_ids)
log("mrcnn_bbox", mrcnn_bbox)
log("mrcnn_masks", mrcnn_masks)
b = 0
sample_image = modellib.unmold_image(normalized_images[b], config)
mrcnn_class_id = mrcnn_class_ids[b].squeeze()
roi_class_specific_bbox = mrcnn_bbox[b, np.arange(mrcnn_bbox.shape[1]), mrcnn_class_id, :]
refined_rois = utils.apply_box_deltas(
    rois[b].astype(np.float32), roi_class_specific_bbox * config.BBOX_STD_DEV)
positive = np.argwhere(mrcnn_class_id > 0)[:, 0]
print("Positive RoIs: ", len(positive))
visualize.draw_boxes(sample_image, refined_boxes=refined_rois[positive],
                     captions=[dataset.class_names[i] for i in mrcnn_class_id[positive]])
plt.close("all")
