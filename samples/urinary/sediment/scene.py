"""One micrograph: objects placed, laid over one another, lit, blurred and photographed."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy import ndimage
from skimage.filters import gaussian

from frcnn.arrays import Array, ArrayLike, Boxes, ClassIds, Image

from . import cells, particles
from .clutter import clutter, illumination

# In the order of the class ids 1..7: the painter and the range of lengths in pixels at 384 px.
# The ranges overlap on purpose: size must not identify the class.
CLASSES = {
    "cast": (particles.cast, (44, 120)),
    "cryst": (particles.crystal, (22, 84)),
    "epith": (cells.squamous_epithelium, (52, 124)),
    "epithn": (cells.small_epithelium, (22, 58)),
    "eryth": (cells.erythrocyte, (19, 45)),
    "leuko": (cells.leukocyte, (21, 50)),
    "mycete": (particles.yeast, (24, 84)),
}
CLASS_NAMES = tuple(CLASSES)

VISIBLE = 0.03  # contrast from which an object stands out from its background
MIN_OBJECTS, MAX_OBJECTS = 5, 30
MIN_IN_FRAME = 0.55  # share of a truncated object that must lie in the picture
MIN_UNCOVERED = 0.6  # share of an object that no later object may lie on
MIN_SIDE = 17  # pixels at 384: what is smaller is lost at a network input of 320


@dataclass
class Sprite:
    """One drawn object: its contrast and its body on a patch, cut to what is visible."""

    class_id: int
    contrast: Array  # float32 [h, w], relative to the background
    mask: Array  # bool [h, w], the body
    veil: Array  # float32 [h, w], how much of what lies beneath is dimmed


def draw_object(rng: Generator, class_id: int, extent: float, light: ArrayLike = (0.5, 0.5),
                blur: float = 0.6) -> Sprite:
    """Draw one object of a class (1..7), `extent` pixels long, as a Sprite.

    blur: standard deviation in pixels of its own defocus. The sprite's patch is cut to the
    pixels that stand out, so its shape is the object's tight box.
    """
    painter, _ = CLASSES[CLASS_NAMES[class_id - 1]]
    contrast, mask = painter(rng, extent, np.asarray(light))
    contrast = ndimage.gaussian_filter(contrast.astype(np.float32), blur)
    seen = np.abs(contrast) >= VISIBLE
    seen |= mask
    contrast = np.where(seen, contrast, 0)
    rows, cols = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    cut = np.s_[rows[0]:rows[-1] + 1, cols[0]:cols[-1] + 1]
    veil = ndimage.gaussian_filter(mask.astype(np.float32), max(blur, 0.6))
    return Sprite(class_id, contrast[cut], mask[cut], 0.75 * veil[cut])


class Scene:
    """Objects on a square picture, and which pixels each of them still shows."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.contrast = np.zeros((size, size), np.float32)
        self.class_ids: list[int] = []
        self.boxes: list[tuple[int, int, int, int]] = []
        self.areas: list[int] = []
        self.shown: list[Array] = []  # bool [size, size]: each object's body less what lies on it

    def place(self, sprite: Sprite, top: int, left: int, overlap: str) -> bool:
        """Lay a sprite down with its corner at (top, left); False where it does not fit.

        overlap: whether it must ("touch") or must not ("free") lie on another object.
        """
        h, w = sprite.mask.shape
        y1, x1 = max(top, 0), max(left, 0)
        y2, x2 = min(top + h, self.size), min(left + w, self.size)
        least = MIN_SIDE * self.size / 384
        if y2 - y1 < least or x2 - x1 < least:
            return False
        part = np.s_[y1 - top:y2 - top, x1 - left:x2 - left]
        here = np.s_[y1:y2, x1:x2]
        body = sprite.mask[part]
        if body.sum() < MIN_IN_FRAME * sprite.mask.sum():
            return False
        box = _tight(sprite, part, top, left)
        if box[2] - box[0] < least or box[3] - box[1] < least:
            return False
        hits = 0
        for shown, area in zip(self.shown, self.areas):
            covered = int((shown[here] & body).sum())
            if covered and int(shown.sum()) - covered < MIN_UNCOVERED * area:
                return False
            hits += covered
        if (hits > 0) != (overlap == "touch") or hits > 0.45 * sprite.mask.sum():
            return False
        for shown in self.shown:
            shown[here] &= ~body
        canvas = self.contrast[here]
        canvas *= 1 - sprite.veil[part]
        canvas += sprite.contrast[part]
        shown = np.zeros((self.size, self.size), bool)
        shown[here] = body
        self.shown.append(shown)
        self.areas.append(int(body.sum()))
        self.class_ids.append(sprite.class_id)
        self.boxes.append(box)
        return True


def _tight(sprite: Sprite, part: tuple[slice, slice], top: int,
           left: int) -> tuple[int, int, int, int]:
    """Box (y1, x1, y2, x2) of what a sprite shows inside the picture."""
    seen = (sprite.contrast[part] != 0) | sprite.mask[part]
    rows, cols = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    y, x = top + part[0].start, left + part[1].start
    return y + rows[0], x + cols[0], y + rows[-1] + 1, x + cols[-1] + 1


def draw_micrograph(rng: Generator, size: int = 384) -> tuple[Image, Boxes, ClassIds]:
    """Draw one synthetic micrograph of urine sediment.

    rng: numpy Generator; the picture depends on nothing else.
    size: side of the square picture in pixels; objects grow with it.

    Returns image uint8 [size, size, 3] RGB, boxes float32 [N, 4] as (y1, x1, y2, x2) in pixels
    with y2, x2 exclusive, and class ids int32 [N] in 1..7; N is 5 to 30.
    What lies beneath another object shines through, so a box spans all of the object that is in
    the picture; at least 60 % of its body is uncovered.
    """
    scene = Scene(size)
    while len(scene.boxes) < MIN_OBJECTS:
        scene = _populate(rng, size)
    image = _photograph(rng, scene)
    return image, np.asarray(scene.boxes, np.float32), np.asarray(scene.class_ids, np.int32)


def _populate(rng: Generator, size: int) -> Scene:
    """A scene with a specimen's own mixture of classes, magnification and crowding."""
    scene = Scene(size)
    scale = size / 384 * rng.uniform(0.85, 1.2)
    angle = rng.uniform(0, 2 * np.pi)
    light = rng.uniform(0.2, 0.6) * np.array([np.sin(angle), np.cos(angle)])
    mixture = 0.5 * rng.dirichlet(np.full(7, 0.7)) + 0.5 / 7
    count = int(np.clip(rng.lognormal(np.log(14), 0.4), 6, MAX_OBJECTS))
    clumping = rng.uniform(0.05, 0.4)
    kinds = rng.choice(7, count, p=mixture) + 1
    # Sheets and casts settle first; the small cells come to lie on them.
    for class_id in sorted(kinds, key=lambda c: c not in (1, 3)):
        low, high = CLASSES[CLASS_NAMES[class_id - 1]][1]
        extent = scale * np.exp(rng.uniform(np.log(low), np.log(high)))
        extent = max(extent, 1.12 * MIN_SIDE * size / 384)
        blur = rng.uniform(0.4, 0.9) if rng.random() < 0.8 else rng.uniform(0.9, 1.5)
        blur = min(blur * size / 384, extent / 22)  # small objects must stay recognisable
        sprite = draw_object(rng, int(class_id), extent, light, blur)
        sprite.contrast *= rng.uniform(0.75, 1.15)
        touch = bool(scene.boxes) and rng.random() < clumping
        if not (touch and _try(rng, scene, sprite, "touch")):
            _try(rng, scene, sprite, "free")
    return scene


def _try(rng: Generator, scene: Scene, sprite: Sprite, overlap: str, attempts: int = 25) -> bool:
    """Look for a spot; beside another object for "touch", anywhere for "free"."""
    h, w = sprite.mask.shape
    room = np.array([scene.size - h, scene.size - w])
    for _ in range(attempts):
        if overlap == "touch":
            y1, x1, y2, x2 = scene.boxes[int(rng.integers(len(scene.boxes)))]
            angle = rng.uniform(0, 2 * np.pi)
            reach = rng.uniform(0.6, 0.95) / 2
            top = (y1 + y2 - h) / 2 + np.sin(angle) * reach * (y2 - y1 + h)
            left = (x1 + x2 - w) / 2 + np.cos(angle) * reach * (x2 - x1 + w)
        elif rng.random() < 0.12:
            top, left = rng.uniform(-0.5, 0.5, 2) * [h, w] + rng.uniform(0, 1, 2) * room
        else:
            top, left = rng.uniform(0, 1, 2) * room
        if scene.place(sprite, int(top), int(left), overlap):
            return True
    return False


def _photograph(rng: Generator, scene: Scene) -> Image:
    """Light, optics and sensor: from contrast to uint8 RGB."""
    size = scene.size
    scale = size / 384
    contrast = scene.contrast + clutter(rng, size)
    focus = rng.uniform(0.2, 0.7) * scale
    green = gaussian(contrast, focus, mode="reflect")
    # Axial colour error: red and blue are a little less in focus than green.
    fringe = gaussian(contrast, focus + 0.5 * scale, mode="reflect")
    absorbed = 1 + rng.normal(0, 0.05, 3)
    light = illumination(rng, size)
    image = light * np.clip(1 + np.stack([fringe, green, fringe], -1) * absorbed, 0.25, 1.7)
    sensor = rng.standard_normal(image.shape).astype(np.float32)
    shot, read = rng.uniform(0.08, 0.2), rng.uniform(0.8, 1.8)
    image = image + sensor * (read + shot * np.sqrt(np.maximum(image, 0)))
    return np.clip(np.round(image), 0, 255).astype(np.uint8)
