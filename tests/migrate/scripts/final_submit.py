"""Style of the final release: detection on a folder, a table of objects, pictures beside it."""
import os
import datetime
import numpy as np
import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt
import skimage.io
import keras.backend as K
from mrcnn import visualize
from mrcnn import model as modellib
from mrcnn.config import Config

RESULTS_DIR = os.path.join(os.getcwd(), "results")


class DetectConfig(Config):
    NAME = "detect"
    NUM_CLASSES = 1 + 1
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1


def detect(model, image_dir):
    print("Running on {}".format(image_dir))
    if not os.path.exists(RESULTS_DIR):
        os.makedirs(RESULTS_DIR)
    submission = []
    for name in sorted(os.listdir(image_dir)):
        image = skimage.io.imread(os.path.join(image_dir, name))
        r = model.detect([image], verbose=0)[0]
        masks = r["masks"]
        n_instances = r['masks'].shape[-1]
        submission.append("{},{},{}".format(name, n_instances, list(r["scores"])))
        visualize.display_instances(
            image, r['rois'], masks, r['class_ids'],
            ["BG", "object"], r['scores'],
            show_bbox=False, show_mask=False,
            title="Predictions")
        plt.savefig("{}/{}".format(RESULTS_DIR, name))
    with open(os.path.join(RESULTS_DIR, "submit.csv"), "w") as f:
        f.write("\n".join(submission))


model = modellib.MaskRCNN(mode="inference", config=DetectConfig(), model_dir="logs")
model.load_weights("mask_rcnn_two.h5", by_name=True)
model.keras_model._make_predict_function()
detect(model, "data/images")
K.clear_session()
