"""Style of a kernel: boxes in a table, images without objects, imgaug, the best epoch by hand."""
import os
import sys
import csv
import numpy as np
import skimage.io
from imgaug import augmenters as iaa

from mrcnn.config import Config
from mrcnn import utils
import mrcnn.model as modellib
from mrcnn import visualize
from mrcnn.model import log

DATA_DIR = 'data'
ROOT_DIR = '.'
ORIG_SIZE = 128


class DetectorConfig(Config):
    NAME = 'pneumonia'
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    NUM_CLASSES = 2
    IMAGE_MIN_DIM = 128
    IMAGE_MAX_DIM = 128
    RPN_ANCHOR_SCALES = (16, 32, 64, 128)
    BACKBONE_STRIDES = [4, 8, 16, 32]
    TRAIN_ROIS_PER_IMAGE = 16
    MAX_GT_INSTANCES = 3
    DETECTION_MAX_INSTANCES = 3
    DETECTION_MIN_CONFIDENCE = 0.0
    DETECTION_NMS_THRESHOLD = 0.1
    STEPS_PER_EPOCH = 1


config = DetectorConfig()


class DetectorDataset(utils.Dataset):
    """Chest radiographs."""

    def __init__(self, image_fps, image_annotations, orig_height, orig_width):
        super().__init__(self)
        self.add_class('pneumonia', 1, 'Lung Opacity')
        for i, fp in enumerate(image_fps):
            self.add_image('pneumonia', image_id=i, path=fp,
                           annotations=image_annotations[fp],
                           orig_height=orig_height, orig_width=orig_width)

    def image_reference(self, image_id):
        info = self.image_info[image_id]
        return info['path']

    def load_image(self, image_id):
        image = skimage.io.imread(self.image_info[image_id]['path'])
        if len(image.shape) != 3 or image.shape[2] != 3:
            image = np.stack((image,) * 3, -1)
        return image

    def load_mask(self, image_id):
        info = self.image_info[image_id]
        annotations = [a for a in info['annotations'] if int(a['Target']) == 1]
        if len(annotations) == 0:
            mask = np.zeros((info['orig_height'], info['orig_width'], 1), dtype=np.uint8)
            class_ids = np.zeros((1,), dtype=np.int32)
        else:
            mask = np.zeros((info['orig_height'], info['orig_width'], len(annotations)), dtype=np.uint8)
            class_ids = np.ones((len(annotations),), dtype=np.int32)
            for i, a in enumerate(annotations):
                x, y, w, h = (int(a[name]) for name in ('x', 'y', 'width', 'height'))
                mask[y:y + h, x:x + w, i] = 1
        return mask.astype(np.bool), class_ids.astype(np.int32)


annotations = {}
for row in csv.DictReader(open(os.path.join(DATA_DIR, 'boxes.csv'))):
    annotations.setdefault(os.path.join(DATA_DIR, 'images', row['patientId'] + '.png'), []).append(row)
image_fps = sorted(annotations)
dataset_train = DetectorDataset(image_fps[1:], annotations, ORIG_SIZE, ORIG_SIZE)
dataset_train.prepare()
dataset_val = DetectorDataset(image_fps[:1], annotations, ORIG_SIZE, ORIG_SIZE)
dataset_val.prepare()

augmentation = iaa.SomeOf((0, 1), [
    iaa.Fliplr(0.5),
    iaa.Affine(
        scale={"x": (0.8, 1.2), "y": (0.8, 1.2)},
        translate_percent={"x": (-0.2, 0.2), "y": (-0.2, 0.2)},
        rotate=(-25, 25),
        shear=(-8, 8)
    ),
    iaa.Multiply((0.9, 1.1))
])

model = modellib.MaskRCNN(mode='training', config=config, model_dir=ROOT_DIR)
model.load_weights('mask_rcnn_coco.h5', by_name=True, exclude=[
    "mrcnn_class_logits", "mrcnn_bbox_fc",
    "mrcnn_bbox", "mrcnn_mask"])
model.train(dataset_train, dataset_val,
            learning_rate=config.LEARNING_RATE,
            epochs=1,
            layers='all',
            augmentation=augmentation)
history = model.keras_model.history.history

dir_names = next(os.walk(model.model_dir))[1]
dir_names = sorted(filter(lambda f: f.startswith(config.NAME.lower()), dir_names))
fps = []
for d in dir_names:
    dir_name = os.path.join(model.model_dir, d)
    checkpoints = next(os.walk(dir_name))[2]
    checkpoints = sorted(filter(lambda f: f.startswith("mask_rcnn"), checkpoints))
    if checkpoints:
        fps.append(os.path.join(dir_name, checkpoints[-1]))
model_path = sorted(fps)[-1]
print('Found model {}'.format(model_path))


class InferenceConfig(DetectorConfig):
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1


model = modellib.MaskRCNN(mode='inference', config=InferenceConfig(), model_dir=ROOT_DIR)
model.load_weights(model_path, by_name=True)


def predict(image_fps, filepath='submission.csv', min_conf=0.0):
    with open(filepath, 'w') as file:
        file.write("patientId,PredictionString\n")
        for fp in image_fps:
            image = skimage.io.imread(fp)
            results = model.detect([image])
            r = results[0]
            assert len(r['rois']) == len(r['class_ids']) == len(r['scores'])
            out_str = os.path.splitext(os.path.basename(fp))[0] + ","
            for i in range(len(r['rois'])):
                if r['scores'][i] > min_conf:
                    y1, x1, y2, x2 = r['rois'][i]
                    out_str += " {:.2f} {} {} {} {}".format(r['scores'][i], x1, y1, x2 - x1, y2 - y1)
            file.write(out_str + "\n")


predict(image_fps)
