"""Style of the TensorFlow 2 ports: a file of COCO's layout read by hand, polygons by Pillow."""
import os
import sys
import json
import numpy as np
from PIL import Image, ImageDraw

sys.path.append('../../aktwelve_mask_rcnn')
from mrcnn.config import Config
import mrcnn.utils as utils
from mrcnn import visualize
import mrcnn.model as modellib


class CocoSynthConfig(Config):
    NAME = "cocosynth_dataset"
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    NUM_CLASSES = 1 + 2
    IMAGE_MIN_DIM = 128
    IMAGE_MAX_DIM = 128
    STEPS_PER_EPOCH = 1
    VALIDATION_STEPS = 1
    BACKBONE_NAME = 'resnet50'
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    TRAIN_ROIS_PER_IMAGE = 32
    MAX_GT_INSTANCES = 10
    POST_NMS_ROIS_INFERENCE = 50
    POST_NMS_ROIS_TRAINING = 100


class CocoLikeDataset(utils.Dataset):
    def load_data(self, annotation_json, images_dir):
        coco_json = json.load(open(annotation_json))
        source_name = "coco_like"
        for category in coco_json['categories']:
            class_id = category['id']
            if class_id < 1:
                print('Error: Class id for "{}" cannot be less than one.'.format(category['name']))
                return
            self.add_class(source_name, class_id, category['name'])
        annotations = {}
        for annotation in coco_json['annotations']:
            annotations.setdefault(annotation['image_id'], []).append(annotation)
        for image in coco_json['images']:
            self.add_image(source=source_name, image_id=image['id'],
                           path=os.path.abspath(os.path.join(images_dir, image['file_name'])),
                           width=image['width'], height=image['height'],
                           annotations=annotations.get(image['id'], []))

    def load_mask(self, image_id):
        image_info = self.image_info[image_id]
        instance_masks = []
        class_ids = []
        for annotation in image_info['annotations']:
            mask = Image.new('1', (image_info['width'], image_info['height']))
            mask_draw = ImageDraw.ImageDraw(mask, '1')
            for segmentation in annotation['segmentation']:
                mask_draw.polygon(segmentation, fill=1)
                instance_masks.append(np.array(mask) > 0)
                class_ids.append(annotation['category_id'])
        if not class_ids:
            return super().load_mask(image_id)
        return np.dstack(instance_masks), np.array(class_ids, dtype=np.int32)


config = CocoSynthConfig()
dataset_train = CocoLikeDataset()
dataset_train.load_data('data/coco.json', 'data/images')
dataset_train.prepare()
for image_id in dataset_train.image_ids[:2]:
    image = dataset_train.load_image(image_id)
    mask, class_ids = dataset_train.load_mask(image_id)
    if len(class_ids):
        visualize.display_top_masks(image, mask, class_ids, dataset_train.class_names, limit=2)

model = modellib.MaskRCNN(mode="training", config=config, model_dir="logs")
model.load_weights("mask_rcnn_coco.h5", by_name=True,
                   exclude=["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"])
inputs, outputs = next(modellib.data_generator(dataset_train, config, batch_size=config.BATCH_SIZE))
model.compile(config.LEARNING_RATE, config.LEARNING_MOMENTUM)
print([x.shape for x in inputs], outputs)
model.keras_model.summary(print_fn=lambda *_, **__: None)
