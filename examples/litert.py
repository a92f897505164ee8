"""Detects with LiteRT, without frcnn: python litert.py detector.tflite image.jpg

The file was written by: frcnn export --format litert --output detector.tflite
"""
import json
import sys
import zipfile

from ai_edge_litert.interpreter import Interpreter
from molding import mold, show
from PIL import Image

about = json.loads(zipfile.ZipFile(sys.argv[1]).read("frcnn.json"))
run = Interpreter(sys.argv[1]).get_signature_runner()
molded, window, scale = mold(Image.open(sys.argv[2]).convert("RGB"), about)
detections = run(image=molded, window=window)["detections"]
show(detections, scale, about)
