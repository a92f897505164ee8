"""Models that several files share, since building them takes seconds."""

import keras
import pytest
from model_tools import prefer_objects, small_config

from frcnn.model.backbone import densenet_graph, resnet_graph
from frcnn.model.mask_rcnn import MaskRCNN


@pytest.fixture(scope="session")
def resnet():
    """ResNet-50 as a model: image → C1 to C5."""
    image = keras.Input((64, 96, 3))
    return keras.Model(image, resnet_graph(image, "resnet50", stage5=True))


@pytest.fixture(scope="session")
def densenet():
    """DenseNet-121 as a model: image → C1 to C5."""
    image = keras.Input((64, 96, 3))
    return keras.Model(image, densenet_graph(image, "densenet121", stage5=True))


@pytest.fixture(scope="session")
def detecting(tmp_path_factory):
    """A small MaskRCNN for detection, with random weights that find something anywhere."""
    model = MaskRCNN("inference", small_config(), tmp_path_factory.mktemp("logs"), seed=1)
    prefer_objects(model)
    return model
