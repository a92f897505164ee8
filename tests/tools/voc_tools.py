"""A data set in Pascal VOC's layout, drawn into a folder."""

from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 100, 80
COLOURS = {"rod": (220, 40, 40), "cell": (40, 200, 60)}
# name → objects, each (class, xmin, ymin, xmax, ymax, difficult); "d" has none
IMAGES = {
    "a": [("rod", 11, 21, 40, 60, 0), ("cell", 51, 1, 100, 80, 1)],
    "b": [("cell", 1, 1, 1, 1, 0)],
    "c": [("rod", 30, 30, 50, 45, 0)],
    "d": [],
}
SUBSETS = {"train": ["a", "b"], "val": ["c", "d"]}


def voc_object(name="rod", xmin=11, ymin=21, xmax=40, ymax=60, difficult=0, extra=""):
    """An <object>; None leaves a field out."""
    corners = {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}
    return ("<object>" + field("name", name) + extra + field("difficult", difficult) + "<bndbox>"
            + "".join(field(*each) for each in corners.items()) + "</bndbox></object>")


def field(tag, value):
    """An element with a text, or nothing for None."""
    return "" if value is None else f"<{tag}>{escape(str(value))}</{tag}>"


def annotation(*objects, filename="a.jpg", width=WIDTH, height=HEIGHT):
    """The text of an annotation file."""
    size = "" if width is height is None else \
        f"<size>{field('width', width)}{field('height', height)}<depth>3</depth></size>"
    return (f"<annotation>{field('filename', filename)}{size}<segmented>0</segmented>"
            + "".join(objects) + "</annotation>")


def draw_voc(folder):
    """Writes the data set; returns its folder."""
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    for name, objects in IMAGES.items():
        pixels = np.full((HEIGHT, WIDTH, 3), 170, np.uint8)
        for class_name, xmin, ymin, xmax, ymax, _ in objects:
            pixels[ymin - 1:ymax, xmin - 1:xmax] = COLOURS[class_name]
        Image.fromarray(pixels).save(folder / "JPEGImages" / f"{name}.png")
        text = annotation(*(voc_object(*each) for each in objects), filename=f"{name}.png")
        (folder / "Annotations" / f"{name}.xml").write_text(text)
    for subset, names in SUBSETS.items():
        set_list(folder, subset, names)
    return folder


def set_annotation(folder, name, content):
    """Replaces an image's annotation by a text, or by bytes."""
    path = folder / "Annotations" / f"{name}.xml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def set_list(folder, subset, names):
    """Replaces a subset's list."""
    (folder / "ImageSets/Main" / f"{subset}.txt").write_text("".join(f"{each}\n" for each in names))
