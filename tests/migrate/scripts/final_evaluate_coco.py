"""Style of the final release: COCO's figures, without the masks' run lengths."""
import os
import time
import json
import numpy as np
import skimage.io
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from mrcnn.config import Config
from mrcnn import model as modellib, utils


class OwnConfig(Config):
    NAME = "own"
    NUM_CLASSES = 1 + 2
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    DETECTION_MIN_CONFIDENCE = 0


class CocoLikeDataset(utils.Dataset):
    def load_coco(self, path, image_dir):
        coco = COCO(path)
        for i in coco.getCatIds():
            self.add_class("coco", i, coco.loadCats(i)[0]["name"])
        for i in coco.imgs:
            self.add_image("coco", image_id=i, path=os.path.join(image_dir, coco.imgs[i]['file_name']),
                           width=coco.imgs[i]["width"], height=coco.imgs[i]["height"],
                           annotations=coco.loadAnns(coco.getAnnIds(imgIds=[i])))
        return coco

    def load_mask(self, image_id):
        image_info = self.image_info[image_id]
        instance_masks, class_ids = [], []
        for annotation in image_info["annotations"]:
            class_id = self.map_source_class_id("coco.{}".format(annotation['category_id']))
            m = self.annToMask(annotation, image_info["height"], image_info["width"])
            if m.max() < 1:
                continue
            instance_masks.append(m)
            class_ids.append(class_id)
        if class_ids:
            return np.stack(instance_masks, axis=2).astype(np.bool), np.array(class_ids, dtype=np.int32)
        else:
            return super(CocoLikeDataset, self).load_mask(image_id)

    def annToMask(self, ann, height, width):
        mask = np.zeros((height, width), np.uint8)
        x, y, w, h = (int(v) for v in ann['bbox'])
        mask[y:y + h, x:x + w] = 1
        return mask


def build_coco_results(dataset, image_ids, rois, class_ids, scores):
    if rois is None:
        return []
    results = []
    for image_id in image_ids:
        for i in range(rois.shape[0]):
            class_id = class_ids[i]
            score = scores[i]
            bbox = np.around(rois[i], 1)
            results.append({
                "image_id": image_id,
                "category_id": dataset.get_source_class_id(class_id, "coco"),
                "bbox": [int(bbox[1]), int(bbox[0]), int(bbox[3] - bbox[1]), int(bbox[2] - bbox[0])],
                "score": float(score)})
    return results


def evaluate_coco(model, dataset, coco, eval_type="bbox", limit=0, image_ids=None):
    image_ids = image_ids or dataset.image_ids
    if limit:
        image_ids = image_ids[:limit]
    coco_image_ids = [dataset.image_info[id]["id"] for id in image_ids]
    t_prediction = 0
    results = []
    for i, image_id in enumerate(image_ids):
        image = dataset.load_image(image_id)
        t = time.time()
        r = model.detect([image], verbose=0)[0]
        t_prediction += (time.time() - t)
        results.extend(build_coco_results(dataset, coco_image_ids[i:i + 1],
                                          r["rois"], r["class_ids"], r["scores"]))
    if not results:
        return
    coco_results = coco.loadRes(results)
    cocoEval = COCOeval(coco, coco_results, eval_type)
    cocoEval.params.imgIds = coco_image_ids
    cocoEval.evaluate()
    cocoEval.accumulate()
    cocoEval.summarize()
    print("Prediction time: {}. Average {}/image".format(t_prediction, t_prediction / len(image_ids)))


dataset = CocoLikeDataset()
coco = dataset.load_coco("data/coco.json", "data/images")
dataset.prepare()
model = modellib.MaskRCNN(mode="inference", config=OwnConfig(), model_dir="logs")
model.load_weights("mask_rcnn_three.h5", by_name=True)
evaluate_coco(model, dataset, coco, "bbox", limit=3)
