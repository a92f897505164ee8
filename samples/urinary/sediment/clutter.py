"""What a micrograph shows besides the objects: uneven light, dust, bacteria, debris, fibres."""

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from frcnn.arrays import Array

from . import fields as f


def illumination(rng: Generator, size: int) -> Array:
    """Background, float32 [size, size, 3] in 0..255: a pale grey with a tint, lit unevenly."""
    level = rng.uniform(118, 182)
    tints = [(0.99, 1.02, 0.97), (1.01, 1.01, 0.94), (1.02, 0.985, 1.01)]
    tint = np.asarray(tints[rng.integers(3)], np.float32)
    tint = tint + rng.normal(0, 0.008, 3).astype(np.float32)
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    tilt, corner = rng.uniform(-0.07, 0.07, 2), rng.uniform(0.02, 0.10)
    light = 1 + tilt[0] * y + tilt[1] * x - corner * (y**2 + x**2)
    coarse = rng.standard_normal((6, 6)).astype(np.float32)
    blotches = ndimage.zoom(coarse, size / 6, order=3, grid_mode=True, mode="nearest")
    light = light + 0.018 * blotches[:size, :size]
    haze = rng.uniform(0.002, 0.008) * f.texture(rng, (size, size), size / 110)
    return level * (light + haze)[..., None] * tint


def clutter(rng: Generator, size: int) -> Array:
    """Contrast of everything that is not annotated, float32 [size, size]."""
    scale = size / 384
    canvas = np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(0, 4))):
        _blob(rng, canvas, scale)
    if rng.random() < 0.22:
        _bubble_edge(rng, canvas)
    for _ in range(int(rng.choice([0, 1, 2], p=[0.6, 0.3, 0.1]))):
        _fibre(rng, canvas, scale)
    bacteria = int(rng.integers(0, 25)) if rng.random() < 0.8 else int(rng.integers(40, 110))
    for _ in range(bacteria):
        _bacterium(rng, canvas, scale)
    for _ in range(int(rng.integers(1, 11))):
        _debris(rng, canvas, scale)
    for _ in range(int(rng.integers(0, 6))):
        _droplet(rng, canvas, scale)
    return canvas


def stamp(canvas: Array, patch: Array, centre: Array) -> None:
    """Add a patch to the canvas round a centre (y, x); what sticks out is cut off."""
    half = patch.shape[0] // 2
    y, x = int(centre[0]) - half, int(centre[1]) - half
    rows = slice(max(y, 0), min(y + patch.shape[0], canvas.shape[0]))
    cols = slice(max(x, 0), min(x + patch.shape[1], canvas.shape[1]))
    if rows.start < rows.stop and cols.start < cols.stop:
        canvas[rows, cols] += patch[rows.start - y:rows.stop - y, cols.start - x:cols.stop - x]


def _anywhere(rng: Generator, canvas: Array) -> Array:
    return rng.uniform(0, canvas.shape[0], 2)


def _blob(rng: Generator, canvas: Array, scale: float) -> None:
    """Something far out of focus."""
    sigma = rng.uniform(6, 16) * scale
    y, x = f.rotate(*f.grid(5 * sigma), rng.uniform(0, np.pi))
    shade = rng.uniform(-0.10, 0.05)
    stamp(canvas, shade * f.bump(np.hypot(y / rng.uniform(0.5, 1), x), sigma * 1.4),
          _anywhere(rng, canvas))


def _bubble_edge(rng: Generator, canvas: Array) -> None:
    """The soft rim of an air bubble much larger than any object."""
    size = canvas.shape[0]
    y, x = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    centre = rng.uniform(-0.2, 1.2, 2) * size
    distance = np.hypot(y - centre[0], x - centre[1]) - size * rng.uniform(0.3, 0.6)
    width = size * rng.uniform(0.008, 0.02)
    canvas += 0.09 * f.bump(distance, width) - 0.07 * f.bump(distance + 1.8 * width, width)


def _fibre(rng: Generator, canvas: Array, scale: float) -> None:
    """A stray thread: long, thin, often blurred."""
    length = rng.uniform(40, 130) * scale
    turn = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.25, 12))
    line = np.cumsum(np.stack([np.sin(turn), np.cos(turn)], axis=1) * length / 12, axis=0)
    line -= (line.max(0) + line.min(0)) / 2
    y, x = f.grid(length, 12)
    distance, _, _ = f.polyline(y, x, line)
    width = rng.uniform(0.7, 1.4) * scale
    patch = 0.10 * f.bump(distance - 1.6 * width, width) - 0.2 * f.bump(distance, width)
    stamp(canvas, ndimage.gaussian_filter(patch, rng.uniform(0.6, 3)), _anywhere(rng, canvas))


def _bacterium(rng: Generator, canvas: Array, scale: float) -> None:
    """A dot or a short rod."""
    y, x = f.grid(6 * scale, 3)
    length = rng.uniform(0, 2.4) * scale
    turn = rng.uniform(0, np.pi)
    tip = length * np.array([np.sin(turn), np.cos(turn)])
    distance, _, _ = f.segment(y, x, -tip, tip)
    patch = -rng.uniform(0.08, 0.24) * f.bump(distance, 1.05 * scale)
    stamp(canvas, patch + 0.06 * f.bump(distance - 2.2 * scale, scale), _anywhere(rng, canvas))


def _droplet(rng: Generator, canvas: Array, scale: float) -> None:
    """A tiny oil droplet: a bright spot in a dark ring."""
    radius = rng.uniform(1.6, 3.2) * scale
    y, x = f.grid(2 * radius, 4)
    distance = np.hypot(y, x) - radius
    patch = 0.25 * f.bump(distance + radius, 0.6 * radius) - 0.24 * f.bump(distance, 0.9 * scale)
    stamp(canvas, ndimage.gaussian_filter(patch, rng.uniform(0.3, 0.9)), _anywhere(rng, canvas))


def _debris(rng: Generator, canvas: Array, scale: float) -> None:
    """A small heap of amorphous grains."""
    extent = rng.uniform(6, 14) * scale
    y, x = f.grid(extent, 3)
    heap = np.zeros(y.shape, np.float32)
    for _ in range(int(rng.integers(2, 7))):
        at = rng.normal(0, extent / 5, 2)
        heap += rng.uniform(-0.28, 0.16) * f.bump(
            np.hypot(y - at[0], x - at[1]), rng.uniform(0.9, 2.0) * scale
        )
    stamp(canvas, ndimage.gaussian_filter(heap, rng.uniform(0.4, 1.2)), _anywhere(rng, canvas))
