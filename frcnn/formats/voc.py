"""Pascal VOC's XML: one file an image, pixels counted from 1, the last one included."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from frcnn.formats.detections import Classes, ImageDetections


def write_voc(path: Path, image: ImageDetections, classes: Classes) -> None:
    """An annotation with an object for each detection; `confidence` holds its score."""
    root = ElementTree.Element("annotation")
    _add(root, "filename", image.name)
    size = ElementTree.SubElement(root, "size")
    for name, value in (("width", image.width), ("height", image.height), ("depth", 3)):
        _add(size, name, str(value))
    for (x, y, width, height), class_id, score in zip(image.xywh, image.class_ids, image.scores):
        found = ElementTree.SubElement(root, "object")
        _add(found, "name", classes.name(class_id))
        for name, text in (("pose", "Unspecified"), ("truncated", "0"), ("difficult", "0"),
                           ("confidence", f"{score:.6f}")):
            _add(found, name, text)
        box = ElementTree.SubElement(found, "bndbox")
        sides: dict[str, float] = {"xmin": x + 1, "ymin": y + 1, "xmax": x + width,
                                   "ymax": y + height}
        for name, side in sides.items():
            _add(box, name, f"{side:.3f}".rstrip("0").rstrip("."))
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _add(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = text
