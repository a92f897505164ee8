"""Style of a kernel: run-length encoded masks, the class by super().__init__(self), predictions."""
import os
import csv
import random
import numpy as np
import skimage.io
from mrcnn.config import Config
from mrcnn import utils
import mrcnn.model as modellib
from mrcnn import visualize

SHAPE = (128, 128)


def rle_decode(mask_rle, shape=SHAPE):
    img = np.zeros(shape[0] * shape[1], dtype=np.uint8)
    s = mask_rle.split()
    starts, lengths = [np.asarray(x, dtype=np.int) for x in (s[0:][::2], s[1:][::2])]
    for lo, length in zip(starts - 1, lengths):
        img[lo:lo + length] = 1
    return img.reshape(shape).T


class ShipConfig(Config):
    NAME = 'airbus'
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    NUM_CLASSES = 2
    IMAGE_MIN_DIM = 128
    IMAGE_MAX_DIM = 128
    DETECTION_MIN_CONFIDENCE = 0.0
    TRAIN_BN = None
    LOSS_WEIGHTS = {
        "rpn_class_loss": 30.0,
        "rpn_bbox_loss": 0.8,
        "mrcnn_class_loss": 6.0,
        "mrcnn_bbox_loss": 1.0,
        "mrcnn_mask_loss": 1.2
    }


class ShipDataset(utils.Dataset):
    def __init__(self, image_fps, image_annotations):
        super().__init__(self)
        self.add_class('ship', 1, 'Ship')
        for i, fp in enumerate(image_fps):
            self.add_image('ship', image_id=i, path=os.path.join('data', 'images', fp),
                           annotations=image_annotations[fp], orig_height=128, orig_width=128)

    def load_mask(self, image_id):
        info = self.image_info[image_id]
        annotations = [a for a in info['annotations'] if a]
        count = len(annotations)
        if count == 0:
            mask = np.zeros((info['orig_height'], info['orig_width'], 1), dtype=np.uint8)
            class_ids = np.zeros((1,), dtype=np.int32)
        else:
            mask = np.zeros((info['orig_height'], info['orig_width'], count), dtype=np.uint8)
            class_ids = np.zeros((count,), dtype=np.int32)
            for i, a in enumerate(annotations):
                mask[:, :, i] = rle_decode(a)
                class_ids[i] = 1
        return mask.astype(np.bool), class_ids.astype(np.int32)


annotations = {}
for row in csv.reader(open('data/rle.csv')):
    annotations.setdefault(row[0], []).append(row[1])
dataset = ShipDataset(sorted(annotations), annotations)
dataset.prepare()
for image_id in dataset.image_ids:
    mask, class_ids = dataset.load_mask(image_id)
    print(image_id, mask.shape, class_ids, dataset.load_boxes(image_id)[0])

model = modellib.MaskRCNN(mode='inference', config=ShipConfig(), model_dir='logs')
model.load_weights('mask_rcnn_two.h5', by_name=True)
image_id = random.choice(dataset.image_ids)
original_image, image_meta, gt_class_id, gt_bbox, gt_mask = \
    modellib.load_image_gt(dataset, model.config, image_id, use_mini_mask=False)
print(original_image.shape, gt_class_id, gt_bbox)
results = model.detect([original_image])
r = results[0]
visualize.display_instances(original_image, r['rois'], r['masks'], r['class_ids'],
                            dataset.class_names, r['scores'],
                            colors=[(1, 0, 0)] * len(r['rois']))
