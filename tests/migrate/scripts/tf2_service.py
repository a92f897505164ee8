"""Style of the TensorFlow 2 ports: a class around the detector, results as JSON."""
import io
import json
import threading
import numpy as np
from PIL import Image
import mrcnn
import mrcnn.config
import mrcnn.model
import mrcnn.visualize

CLASS_NAMES = ['BG', 'object']


class SimpleConfig(mrcnn.config.Config):
    NAME = "coco_inference"
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    NUM_CLASSES = len(CLASS_NAMES)
    DETECTION_MIN_CONFIDENCE = 0.0


class Detector:
    def __init__(self, weights):
        self.lock = threading.Lock()
        self.model = mrcnn.model.MaskRCNN(mode="inference", config=SimpleConfig(), model_dir="logs")
        self.model.load_weights(filepath=weights, by_name=True)

    def __call__(self, data):
        image = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
        with self.lock:
            r = self.model.detect(images=[image], verbose=0)[0]
        print('masks', r['masks'].shape)
        mrcnn.visualize.display_instances(image=image,
                                          boxes=r['rois'],
                                          masks=r['masks'],
                                          class_ids=r['class_ids'],
                                          class_names=CLASS_NAMES,
                                          scores=r['scores'])
        return json.dumps([{"box": [int(v) for v in box], "label": CLASS_NAMES[i], "score": float(s)}
                           for box, i, s in zip(r['rois'], r['class_ids'], r['scores'])])


detector = Detector("mask_rcnn_two.h5")
print(detector(open("data/images/0.png", "rb").read())[:80])
