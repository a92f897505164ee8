"""Shapes as signed distance fields, and their optical contrast.

A field is a float32 array [n, n] over a square patch. Distances are in pixels, negative inside, so
every edge is anti-aliased by construction. Contrast is relative to the background: -0.2 is a fifth
darker, +0.2 a fifth brighter.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from frcnn.arrays import Array

Harmonic: TypeAlias = tuple[int, float, float]  # (k, amplitude, phase), see `star`


def grid(extent: float, margin: float = 7.0) -> tuple[Array, Array]:
    """Coordinates (y, x), float32 [n, n] each, of a patch that holds a shape `extent` px long."""
    half = int(np.ceil(extent / 2 + margin))
    axis = np.arange(-half, half + 1, dtype=np.float32)
    return np.meshgrid(axis, axis, indexing="ij")


def rotate(y: Any, x: Any, angle: float) -> tuple[Any, Any]:
    """Coordinates in a frame turned by `angle` radians."""
    c, s = np.cos(angle), np.sin(angle)
    return c * y - s * x, s * y + c * x


def ellipse(y: Array, x: Array, ry: float, rx: float) -> Array:
    """Signed distance, first order, to an ellipse of radii ry, rx round the origin."""
    k1 = np.hypot(y / ry, x / rx)
    k2 = np.hypot(y / ry**2, x / rx**2)
    inner = np.maximum(k2, 1e-6)
    # At the very centre the quotient is 0 / 0; the true distance there is the smaller radius.
    return np.where(k1 > 1e-3, k1 * (k1 - 1) / inner, -min(ry, rx)).astype(np.float32)


def star(y: Array, x: Array, radius: float, harmonics: Iterable[Harmonic]) -> Array:
    """Signed distance, first order, to r = radius * (1 + sum a cos(k theta + phase)).

    harmonics: iterable of (k, amplitude, phase).
    """
    theta = np.arctan2(y, x)
    wave = np.ones_like(theta)
    slope = np.zeros_like(theta)
    for k, amplitude, phase in harmonics:
        wave += amplitude * np.cos(k * theta + phase)
        slope -= k * amplitude * np.sin(k * theta + phase)
    return (np.hypot(y, x) - radius * wave) / np.sqrt(1 + (slope / wave) ** 2)


def wobble(rng: Generator, amplitude: float, first: int = 2, last: int = 5) -> list[Harmonic]:
    """Random low harmonics for `star`, weaker the finer they are."""
    return [
        (k, amplitude * rng.uniform(0.3, 1) * first / k, rng.uniform(0, 2 * np.pi))
        for k in range(first, last + 1)
    ]


def segment(y: Array, x: Array, start: Array, end: Array) -> tuple[Array, Array, Array]:
    """Distance to a segment, the position along it (0..1) and the side (signed distance)."""
    (ay, ax), (by, bx) = start, end
    dy, dx = by - ay, bx - ax
    length2 = max(dy * dy + dx * dx, 1e-9)
    t = np.clip(((y - ay) * dy + (x - ax) * dx) / length2, 0, 1)
    side = ((x - ax) * dy - (y - ay) * dx) / np.sqrt(length2)
    return np.hypot(y - ay - t * dy, x - ax - t * dx), t, side


def polygon(y: Array, x: Array, vertices: Array) -> Array:
    """Exact signed distance to a simple polygon; vertices [n, 2] as (y, x)."""
    distance = np.full(y.shape, np.inf, np.float32)
    inside = np.zeros(y.shape, bool)
    for start, end in zip(vertices, np.roll(vertices, -1, axis=0)):
        distance = np.minimum(distance, segment(y, x, start, end)[0])
        crosses = (start[0] > y) != (end[0] > y)
        if start[0] != end[0]:
            at = start[1] + (y - start[0]) * (end[1] - start[1]) / (end[0] - start[0])
            inside ^= crosses & (x < at)
    return np.where(inside, -distance, distance)


def polyline(y: Array, x: Array, points: Array) -> tuple[Array, Array, Array]:
    """Distance to an open curve, position along it in pixels, and side (signed distance)."""
    best = np.full(y.shape, np.inf, np.float32)
    along = np.zeros(y.shape, np.float32)
    side = np.zeros(y.shape, np.float32)
    travelled = 0.0
    for start, end in pairwise(points):
        distance, t, offset = segment(y, x, start, end)
        length = np.hypot(*(np.asarray(end) - start))
        nearer = distance < best
        best = np.where(nearer, distance, best)
        along = np.where(nearer, travelled + t * length, along)
        side = np.where(nearer, offset, side)
        travelled += length
    return best, along, side


def rounded(vertices: Array, times: int = 2, cut: float = 0.25) -> Array:
    """Corners cut (Chaikin 1974), so that a polygon turns into a smooth outline.

    cut: share of a side that each of its corners loses; 0.25 gives the smoothest curve.
    """
    for _ in range(times):
        after = np.roll(vertices, -1, axis=0)
        near, far = (1 - cut) * vertices + cut * after, cut * vertices + (1 - cut) * after
        vertices = np.stack([near, far], axis=1).reshape(-1, 2)
    return vertices


def cover(distance: Array, softness: float = 0.7) -> Array:
    """Share of each pixel inside the shape, 0..1."""
    return np.clip(0.5 - distance / (2 * softness), 0, 1)


def bump(distance: Array, width: float | Array) -> Array:
    """A bell over distance: 1 on the line, near 0 beyond twice the width."""
    return np.exp(-((distance / width) ** 2))


def rim(distance: Array, width: float, dark: float, halo: float) -> Array:
    """The refraction edge of a cell in bright field: dark line inside, bright line outside."""
    return halo * bump(distance - 0.9 * width, 0.7 * width) - dark * bump(
        distance + 0.5 * width, 0.75 * width
    )


def texture(rng: Generator, shape: tuple[int, ...], sigma: float) -> Array:
    """Smooth noise of unit standard deviation with grains of about `sigma` pixels."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape).astype(np.float32), sigma)
    return noise / max(float(noise.std()), 1e-6)


def relief(height: Array, light: Array) -> Array:
    """Shading of a height map (in pixels) under slightly oblique light; light is (y, x)."""
    gy, gx = np.gradient(height)
    return gy * light[0] + gx * light[1]
