"""Detection with exported files, without Keras and TensorFlow.

    from frcnn.runtime import Detector

    detector = Detector("detector.onnx")
    results = detector.detect([image])

It needs NumPy, Pillow and the engine of the file: onnxruntime, openvino or ai-edge-litert.
"""

from frcnn.runtime.detector import Detector

__all__ = ["Detector"]
