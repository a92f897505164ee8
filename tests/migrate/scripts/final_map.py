"""Style of the final release: AP over IoU thresholds, differences and curves."""
import numpy as np
import matplotlib.pyplot as plt
import mrcnn.model as modellib
import mrcnn.utils as utils
import mrcnn.visualize as visualize
from mrcnn.config import Config


class EvalConfig(Config):
    NAME = "eval"
    NUM_CLASSES = 3
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    IMAGE_RESIZE_MODE = "pad64"
    IMAGE_MIN_SCALE = False
    DETECTION_MIN_CONFIDENCE = 0.0


class TwoDataset(utils.Dataset):
    def load_two(self):
        self.add_class("two", 1, "dark")
        self.add_class("two", 2, "bright")
        for i in range(2):
            self.add_image("two", image_id=i, path="data/images/%d.png" % i)

    def load_mask(self, image_id):
        mask = np.zeros([128, 128, 2], dtype=np.uint8)
        mask[10:40, 10:40, 0] = 1
        mask[60:90, 50:110, 1] = 1
        return mask.astype(bool), np.array([1, 2], np.int32)


def get_ax(rows=1, cols=1, size=8):
    _, ax = plt.subplots(rows, cols, figsize=(size * cols, size * rows))
    return ax


config = EvalConfig()
dataset = TwoDataset()
dataset.load_two()
dataset.prepare()
model = modellib.MaskRCNN(mode="inference", model_dir="logs", config=config)
model.load_weights("mask_rcnn_three.h5", by_name=True)

APs = []
for image_id in dataset.image_ids:
    image, image_meta, gt_class_id, gt_bbox, gt_mask = modellib.load_image_gt(
        dataset, config, image_id, use_mini_mask=False)
    results = model.detect([image], verbose=0)
    r = results[0]
    ap = utils.compute_ap_range(gt_bbox, gt_class_id, gt_mask,
                                r['rois'], r['class_ids'], r['scores'], r['masks'],
                                verbose=0)
    APs.append(ap)
    gt_match, pred_match, overlaps = utils.compute_matches(
        gt_bbox, gt_class_id, gt_mask, r['rois'], r['class_ids'], r['scores'], r['masks'])
    visualize.display_differences(
        image,
        gt_bbox, gt_class_id, gt_mask,
        r['rois'], r['class_ids'], r['scores'], r['masks'],
        dataset.class_names, ax=get_ax(),
        show_box=False, show_mask=False,
        iou_threshold=0.5, score_threshold=0.1)
    AP, precisions, recalls, overlaps = utils.compute_ap(gt_bbox, gt_class_id, gt_mask,
                                                         r['rois'], r['class_ids'], r['scores'], r['masks'])
    visualize.plot_precision_recall(AP=AP, precisions=precisions, recalls=recalls)
    visualize.plot_overlaps(gt_class_id, r['class_ids'], r['scores'], overlaps, dataset.class_names)
print("mean AP over thresholds", np.mean(APs))
plt.savefig("overlaps.png")
plt.close("all")
