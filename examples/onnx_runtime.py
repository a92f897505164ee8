"""Detects with ONNX Runtime, without frcnn: python onnx_runtime.py detector.onnx image.jpg

The file was written by: frcnn export --format onnx --image-in-graph --output detector.onnx
"""
import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
about = json.loads(session.get_modelmeta().custom_metadata_map["frcnn"])
image = np.asarray(Image.open(sys.argv[2]).convert("RGB"))  # uint8 [h, w, 3], of any size
names = ["boxes", "class_ids", "scores", "count"]
boxes, class_ids, scores, count = session.run(names, {"image": image[None]})
for number in range(count[0]):
    y1, x1, y2, x2 = boxes[0, number]
    name = about["class_names"][class_ids[0, number]]
    print(f"{name} {scores[0, number]:.3f} {y1:.2f} {x1:.2f} {y2:.2f} {x2:.2f}")
