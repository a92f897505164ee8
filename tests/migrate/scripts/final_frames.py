"""Style of the final release: frames one after the other, drawn into arrays, names kept apart."""
import os
import sys
import colorsys
import random
import numpy as np
import skimage.io
from mrcnn import utils, visualize, model as modellib
from mrcnn.config import Config
from mrcnn.visualize import random_colors, display_images

class_names = ["BG", "object"]


class FrameConfig(Config):
    NAME = "frames"
    GPU_COUNT = 1
    IMAGES_PER_GPU = 2
    NUM_CLASSES = 2
    DETECTION_MIN_CONFIDENCE = 0.0


config = FrameConfig()
model = modellib.MaskRCNN(mode="inference", model_dir=os.path.join("logs"), config=config)
model.load_weights("mask_rcnn_two.h5", by_name=True)
colors = random_colors(len(class_names))
frames = [skimage.io.imread(os.path.join("data", "images", name))
          for name in sorted(os.listdir(os.path.join("data", "images")))]
batch, drawn = [], []
for frame in frames:
    batch.append(frame)
    if len(batch) < config.BATCH_SIZE:
        continue
    results = model.detect(batch, verbose=0)
    for image, r in zip(batch, results):
        image = image.copy()
        for i in range(r['rois'].shape[0]):
            if not np.any(r['rois'][i]):
                continue
            color = [int(255 * c) for c in colors[r['class_ids'][i]]]
            visualize.draw_box(image, r['rois'][i], color)
        drawn.append(image)
    batch = []
display_images(drawn, titles=[str(i) for i in range(len(drawn))], cols=2)
small = utils.resize(drawn[0], (64, 64), preserve_range=True)
skimage.io.imsave("first.png", small.astype(np.uint8))
