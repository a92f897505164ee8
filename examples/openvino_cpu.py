"""Detects with OpenVINO, without frcnn: python openvino_cpu.py detector.xml image.jpg

The file was written by: frcnn export --format openvino --output detector.xml
"""
import json
import sys

import openvino
from molding import mold, show
from PIL import Image

core = openvino.Core()
model = core.read_model(sys.argv[1])
about = json.loads(model.get_rt_info(["frcnn"]).astype(str))
compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
molded, window, scale = mold(Image.open(sys.argv[2]).convert("RGB"), about)
detections = compiled({"image": molded, "window": window})["detections"]
show(detections, scale, about)
