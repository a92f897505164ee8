"""Crystals, casts and yeasts. Painters as in `cells`."""

from typing import TypeAlias

import numpy as np
from numpy.random import Generator

from frcnn.arrays import Array

from . import fields as f

YeastCell: TypeAlias = tuple[Array, float, float, float]  # centre, angle, half length, half width


def crystal(rng: Generator, extent: float, light: Array) -> tuple[Array, Array]:
    """Sharp straight facets: envelope, coffin lid, plate or a sheaf of needles."""
    kind = rng.choice(["envelope", "coffin", "plate", "needles"], p=[0.36, 0.26, 0.2, 0.18])
    if kind == "needles":
        return _needles(rng, extent)
    angle = rng.uniform(0, 2 * np.pi)
    y, x = f.rotate(*f.grid(extent), angle)
    if kind == "envelope":
        half = extent / 2 / (abs(np.cos(angle)) + abs(np.sin(angle)))
        outer = half * np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * [rng.uniform(0.8, 1), 1]
        inner = outer * 0.06
    elif kind == "coffin":
        outer = extent / 2 * np.array(
            [[-0.3, -1], [-0.55, -0.5], [-0.55, 0.5], [-0.3, 1], [0.3, 1], [0.55, 0.5],
             [0.55, -0.5], [0.3, -1]]
        ) * [rng.uniform(0.85, 1.2), 1]
        inner = outer * [0.35, 0.55]
    else:
        sides = int(rng.choice([4, 6]))
        turn = np.arange(sides) * 2 * np.pi / sides
        squash = rng.uniform(0.55, 0.7) if sides == 4 else rng.uniform(0.85, 1)
        outer = extent / 2 * np.stack([np.sin(turn) * squash, np.cos(turn)], axis=1)
        inner = outer * rng.uniform(0.66, 0.85)
    light = np.array(f.rotate(light[0], light[1], angle))
    return _facets(rng, y, x, outer, inner, light)


def _facets(rng: Generator, y: Array, x: Array, outer: Array, inner: Array,
            light: Array) -> tuple[Array, Array]:
    """A faceted solid seen from above: sloping faces between the outer and the inner polygon."""
    distance = f.polygon(y, x, outer)
    body = np.full(y.shape, rng.uniform(0.10, 0.2), np.float32)
    lines = np.zeros(y.shape, np.float32)
    for k in range(len(outer)):
        n = (k + 1) % len(outer)
        face = f.polygon(y, x, np.array([outer[k], outer[n], inner[n], inner[k]]))
        normal = (outer[k] + outer[n]) / np.linalg.norm(outer[k] + outer[n])
        shade = 0.06 + 0.15 * float(normal @ light) / max(float(np.linalg.norm(light)), 1e-6)
        body = np.where(face < 0, shade, body)
        ridge, _, _ = f.segment(y, x, outer[k], inner[k])
        lines = np.maximum(lines, f.bump(ridge, 1.0))
        ridge, _, _ = f.segment(y, x, inner[k], inner[n])
        lines = np.maximum(lines, f.bump(ridge, 1.0))
    contrast = f.cover(distance) * (body + 0.32 * lines) + f.rim(distance, 1.3, 0.42, 0.14)
    return contrast, distance < 0


def _needles(rng: Generator, extent: float) -> tuple[Array, Array]:
    """A sheaf of thin, pointed, bright-cored needles through one middle."""
    y, x = f.grid(extent)
    spread = rng.uniform(0.25, 1.0)
    base = rng.uniform(0, np.pi)
    contrast = np.zeros(y.shape, np.float32)
    mask = np.zeros(y.shape, bool)
    for k in range(int(rng.integers(4, 7))):
        angle = base + rng.uniform(-spread, spread)
        length = extent / 2 * (1 if k < 2 else rng.uniform(0.7, 1))
        tip = np.array([np.sin(angle), np.cos(angle)]) * length
        middle = rng.uniform(-0.03, 0.03, 2) * extent
        distance, t, _ = f.segment(y, x, middle - tip, middle + tip)
        width = 1.9 * np.sin(np.pi * np.clip(t, 0.12, 0.88)) + 0.2
        one = 0.30 * f.bump(distance, 0.6 * width) - 0.36 * f.bump(distance - 1.15 * width, 0.9)
        contrast = np.where(np.abs(one) > np.abs(contrast), one, contrast)
        mask |= distance < width + 0.8
    return contrast, mask


def _bent_line(rng: Generator, length: float, bend: float, points: int = 14) -> Array:
    """Points along an arc of `length` that turns by `bend` radians, about the origin."""
    turn = rng.uniform(0, 2 * np.pi) + np.linspace(-bend / 2, bend / 2, points - 1)
    steps = np.stack([np.sin(turn), np.cos(turn)], axis=1) * length / (points - 1)
    line = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    return line - (line.max(0) + line.min(0)) / 2


def cast(rng: Generator, extent: float, light: Array) -> tuple[Array, Array]:
    """Cylinder with parallel sides and rounded ends: hyaline, granular or waxy."""
    y, x = f.grid(extent)
    width = max(extent * rng.uniform(0.2, 0.34), min(17, 0.4 * extent))
    line = _bent_line(rng, max(extent - width, 0.8 * width), rng.uniform(-0.9, 0.9))
    centre, along, side = f.polyline(y, x, line)
    taper = 1 - 0.25 * rng.random() * along / max(float(along.max()), 1)
    distance = centre - width / 2 * taper
    inside = f.cover(distance)
    tube = np.sqrt(np.clip(1 - (centre / (width / 2)) ** 2, 0, 1))
    kind = rng.choice(["hyaline", "granular", "waxy"], p=[0.35, 0.45, 0.2])
    body = 0.08 * tube + 0.10 * f.relief(width * 0.35 * tube, light)
    dark = 0.22
    if kind == "hyaline":
        body = body + 0.06 * _strands(rng, side, width)
    elif kind == "granular":
        grain = f.texture(rng, y.shape, np.clip(0.06 * width, 1.1, 1.9))
        body = body - 0.05 + 0.16 * np.clip(grain, -1.7, 1.7)
    else:
        body = body - 0.04 - 0.28 * _cracks(rng, along, side, width)
        dark = 0.34
    return f.rim(distance, 1.5, dark, 0.11) + inside * body, distance < 0


def _strands(rng: Generator, side: Array, width: float) -> Array:
    """Faint threads along a hyaline cast: a random profile across it."""
    profile = f.texture(rng, (64,), 1.2)
    return np.interp(side / width, np.linspace(-0.5, 0.5, 64), profile)


def _cracks(rng: Generator, along: Array, side: Array, width: float) -> Array:
    """Notches that run into a waxy cast from either side."""
    cracks = np.zeros(along.shape, np.float32)
    at = width * rng.uniform(0.1, 0.5)
    while at < along.max():
        flank = rng.choice([-1, 1])
        deep = f.cover(width * rng.uniform(-0.15, 0.25) - flank * side, 1.0)
        cracks = np.maximum(cracks, deep * f.bump(along - at + rng.uniform(-0.3, 0.3) * side, 1.1))
        at += width * rng.uniform(0.35, 0.9)
    return cracks


def _yeast_cell(y: Array, x: Array, centre: Array, angle: float, half_length: float,
                half_width: float) -> tuple[Array, Array]:
    """One refractile oval: bright inside, dark sharp outline. Returns distance and contrast."""
    v, u = f.rotate(y - centre[0], x - centre[1], angle)
    distance = f.ellipse(v, u, half_width, half_length)
    depth = np.clip(1 + distance / half_width, 0, 1)
    return distance, f.cover(distance) * 0.30 * f.bump(depth, 0.62)


def yeast(rng: Generator, extent: float, light: Array) -> tuple[Array, Array]:
    """Budding ovals, or a pseudohypha: a jointed thread of long cells with buds."""
    y, x = f.grid(extent)
    cells = _pseudohypha(rng) if rng.random() < 0.45 else _buds(rng)
    ends = np.concatenate([
        c + s * half * np.array([[np.sin(a), np.cos(a)]]) for c, a, half, _ in cells
        for s in (-1, 1)
    ])
    scale = extent / max(float(np.ptp(ends, axis=0).max()), 1e-6)
    shift = (ends.max(0) + ends.min(0)) / 2
    nearest = np.full(y.shape, np.inf, np.float32)
    contrast = np.zeros(y.shape, np.float32)
    for centre, angle, half_length, half_width in cells:
        distance, inner = _yeast_cell(
            y, x, (centre - shift) * scale, angle,
            max(half_length * scale, 4.2), max(half_width * scale, 3.6),
        )
        nearest = np.minimum(nearest, distance)
        # Later cells lie on earlier ones and hide their walls.
        contrast *= 1 - f.cover(distance)
        contrast += inner - 0.40 * f.bump(distance + 0.6, 1.15)
    return contrast + 0.12 * f.bump(nearest - 1.6, 1.0), nearest < 0


def _buds(rng: Generator) -> list[YeastCell]:
    """(centre, angle, half length, half width) of a mother cell and one to three buds."""
    angle = rng.uniform(0, 2 * np.pi)
    cells = [(np.zeros(2), angle, 1.0, rng.uniform(0.68, 0.85))]
    for _ in range(int(rng.integers(1, 4))):
        centre, turn, half, _ = cells[-1] if rng.random() < 0.5 else cells[0]
        heading = turn + rng.choice([0.0, np.pi]) + rng.uniform(-0.6, 0.6)
        size = rng.uniform(0.55, 0.85)
        reach = 0.92 * (half + size)
        step = reach * np.array([np.sin(heading), np.cos(heading)])
        cells.append((centre + step, heading, size, size * rng.uniform(0.68, 0.85)))
    return cells


def _pseudohypha(rng: Generator) -> list[YeastCell]:
    """(centre, angle, half length, half width) of a jointed thread with one or two buds."""
    heading, at, cells = rng.uniform(0, 2 * np.pi), np.zeros(2), []
    for _ in range(int(rng.integers(2, 5))):
        half = rng.uniform(1.1, 1.7)
        ahead = np.array([np.sin(heading), np.cos(heading)])
        cells.append((at + half * ahead, heading, half, rng.uniform(0.42, 0.55)))
        at = at + 1.93 * half * ahead
        heading += rng.uniform(-0.5, 0.5)
    for _ in range(int(rng.integers(1, 3))):
        centre, turn, half, _ = cells[int(rng.integers(len(cells)))]
        joint = centre + half * 0.9 * np.array([np.sin(turn), np.cos(turn)])
        side = turn + rng.choice([-1, 1]) * rng.uniform(0.8, 1.3)
        cells.append((joint + 0.75 * np.array([np.sin(side), np.cos(side)]), side, 0.75, 0.5))
    return cells
