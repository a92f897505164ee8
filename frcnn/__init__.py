"""frcnn: Faster R-CNN with a feature pyramid, on Keras 3.

Importing the package loads neither Keras nor a backend; `from frcnn.model import MaskRCNN` does.
"""

__version__ = "0.1.0"
