"""Cells: erythrocytes, leukocytes, squamous epithelium, small epithelial cells and free nuclei.

Each painter takes (rng, extent, light) and returns (contrast, mask): contrast float32 [n, n]
relative to the background, mask bool [n, n] of the body. `extent` is the length in pixels.
"""

import numpy as np
from numpy.random import Generator

from frcnn.arrays import Array

from . import fields as f


def erythrocyte(rng: Generator, extent: float, light: Array) -> tuple[Array, Array]:
    """Smooth ring or biconcave disc; now and then crenated or an empty ghost."""
    y, x = f.rotate(*f.grid(extent), rng.uniform(0, 2 * np.pi))
    kind = rng.choice(["disc", "crenated", "ghost"], p=[0.66, 0.2, 0.14])
    radius = extent / 2
    edge = max(1.2, 0.055 * extent)
    if kind == "crenated":
        spikes = int(rng.integers(9, 13))
        radius *= 0.92
        distance = f.star(y, x, radius, [(spikes, 0.085, 0.0), *f.wobble(rng, 0.03, 2, 3)])
        body = _spicules(rng, y, x, radius, spikes)
        contrast = f.rim(distance, edge, 0.30, 0.12) + f.cover(distance) * body
    else:
        squash = rng.uniform(0.68, 0.84) if rng.random() < 0.2 else rng.uniform(0.88, 1.0)
        distance = f.ellipse(y, x, radius * squash, radius)
        depth = 1 + distance / (radius * squash)  # 0 in the centre, 1 on the outline
        if kind == "ghost":
            contrast = f.rim(distance, 0.9 * edge, 0.26, 0.10)
        else:
            dimple = f.cover(depth - rng.uniform(0.38, 0.52), 0.16)
            ring = rng.uniform(0.13, 0.2) * dimple - 0.10 * (1 - dimple)
            contrast = f.rim(distance, edge, 0.24, 0.14) + f.cover(distance) * ring
            doughnut = radius * 0.4 * f.bump(depth - 0.7, 0.28) * f.cover(distance)
            contrast = contrast + 0.10 * f.relief(doughnut, light)
    return contrast, distance < 0


def _spicules(rng: Generator, y: Array, x: Array, radius: float, spikes: int) -> Array:
    """Dark and bright points that the spikes of an echinocyte leave inside the outline."""
    body = np.full(y.shape, -0.05, np.float32)
    for k in range(spikes // 2 + 2):
        angle, r = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.1, 0.6)
        d = np.hypot(y - r * np.sin(angle), x - r * np.cos(angle))
        body += (0.16 if k % 2 else -0.16) * f.bump(d, 0.12 * radius)
    return body


def leukocyte(rng: Generator, extent: float, light: Array) -> tuple[Array, Array]:
    """Grainy round cell with a nucleus of two to four lobes."""
    y, x = f.rotate(*f.grid(extent), rng.uniform(0, 2 * np.pi))
    radius = 0.485 * extent
    distance = f.star(y, x, radius, f.wobble(rng, 0.035, 2, 6))
    inside = f.cover(distance)
    grain = f.texture(rng, y.shape, max(0.8, 0.026 * extent))
    body = -0.03 + 0.16 * np.clip(grain, -1.6, 1.6)
    lobes = int(rng.integers(2, 5))
    first = rng.uniform(0, 2 * np.pi)
    nucleus = np.full(y.shape, np.inf, np.float32)
    for k in range(lobes):
        angle = first + k * rng.uniform(1.3, 1.8)
        r = radius * rng.uniform(0.36, 0.48)
        lobe = f.ellipse(
            *f.rotate(y - r * np.sin(angle), x - r * np.cos(angle), angle),
            radius * rng.uniform(0.22, 0.3), radius * rng.uniform(0.3, 0.38),
        )
        nucleus = np.minimum(nucleus, lobe)
    # The grains lie in the cytoplasm: over the nucleus they are faint.
    inner = f.cover(nucleus, 1.2)
    body = (1 - 0.8 * inner) * body - 0.21 * inner - 0.08 * f.bump(nucleus, 1.2)
    edge = max(1.1, 0.04 * extent)
    return f.rim(distance, edge, 0.20, 0.10) + inside * body, distance < 0


def _nucleus(rng: Generator, y: Array, x: Array, radius: float,
             strength: float) -> tuple[Array, Array]:
    """A nucleus: dark, with membrane, chromatin, nucleolus and a bright seam round it."""
    distance = f.star(y, x, radius, f.wobble(rng, 0.05, 2, 3))
    edge = max(1.0, 0.13 * radius)
    chromatin = 0.28 * f.texture(rng, y.shape, max(0.8, 0.13 * radius))
    nucleolus = f.bump(
        np.hypot(y - radius * rng.uniform(-0.3, 0.3), x - radius * rng.uniform(-0.3, 0.3)),
        max(1.0, 0.25 * radius),
    )
    body = f.cover(distance) * (0.75 + chromatin + 0.7 * nucleolus)
    return -strength * body + f.rim(distance, edge, 0.9 * strength, 0.5 * strength), distance


def small_epithelium(rng: Generator, extent: float, light: Array) -> tuple[Array, Array]:
    """Small round epithelial cell filled by its nucleus, or such a nucleus alone."""
    y, x = f.rotate(*f.grid(extent), rng.uniform(0, 2 * np.pi))
    if rng.random() < 0.25:
        radius = 0.43 * extent  # without its cell the nucleus is smaller
        contrast, distance = _nucleus(rng, y / rng.uniform(0.8, 1), x, radius, 0.2)
        return contrast, distance < 0
    squash = rng.uniform(0.78, 1.0)
    distance = f.star(y / squash, x, 0.48 * extent, f.wobble(rng, 0.05, 2, 5))
    edge = max(1.1, 0.045 * extent)
    body = 0.05 + 0.035 * f.texture(rng, y.shape, max(1.0, 0.05 * extent))
    contrast = f.rim(distance, edge, 0.19, 0.09) + f.cover(distance) * body
    shift = rng.uniform(-0.07, 0.07, 2) * extent
    radius = extent * squash * rng.uniform(0.24, 0.31)
    nucleus, _ = _nucleus(rng, y - shift[0], x - shift[1], radius, 0.24)
    return contrast + nucleus, distance < 0


def squamous_epithelium(rng: Generator, extent: float, light: Array) -> tuple[Array, Array]:
    """Large thin sheet, irregular and angular, folded, with a small nucleus."""
    y, x = f.grid(extent)
    corners = int(rng.integers(5, 9))
    angles = np.sort(np.linspace(0, 2 * np.pi, corners, endpoint=False)
                     + rng.uniform(-0.28, 0.28, corners)) + rng.uniform(0, 2 * np.pi)
    radii = rng.uniform(0.66, 1.0, corners)
    vertices = np.stack([radii * np.sin(angles), radii * np.cos(angles)], axis=1)
    vertices[:, 0] *= rng.uniform(0.65, 1.0)
    turn = rng.uniform(0, np.pi)
    vertices = np.stack(f.rotate(vertices[:, 0], vertices[:, 1], turn), axis=1)
    vertices -= (vertices.max(0) + vertices.min(0)) / 2
    vertices *= extent / np.ptp(vertices, axis=0).max()
    distance = f.polygon(y, x, f.rounded(vertices, 2, rng.uniform(0.10, 0.2)))
    distance += 0.009 * extent * f.texture(rng, y.shape, 0.07 * extent)
    inside = f.cover(distance)
    edge = max(1.1, 0.012 * extent + 0.7)
    body = -0.03 + 0.03 * f.texture(rng, y.shape, 2.0)
    body = body + _stipple(rng, y, extent)
    for _ in range(int(rng.integers(2, 5))):
        body = body + _fold(rng, y, x, vertices)
    contrast = f.rim(distance, edge, 0.22, 0.09) + inside * body
    shift = rng.uniform(-0.1, 0.1, 2) * extent
    radius = max(3.2, extent * rng.uniform(0.075, 0.105))
    nucleus, _ = _nucleus(rng, y - shift[0], (x - shift[1]) * rng.uniform(0.75, 1), radius, 0.25)
    return contrast + nucleus, distance < 0


def _stipple(rng: Generator, y: Array, extent: float) -> Array:
    """Scattered fine granules of a squamous cell's cytoplasm."""
    dots = f.texture(rng, y.shape, 0.8)
    return -0.10 * np.clip(dots - 1.5, 0, 1.2)


def _fold(rng: Generator, y: Array, x: Array, vertices: Array) -> Array:
    """A crease across the sheet: a dark line with a bright one beside it."""
    a, b = vertices[rng.choice(len(vertices), 2, replace=False)]
    start = a * rng.uniform(0.6, 0.95)
    end = start + (b - start) * rng.uniform(0.3, 0.7)
    distance, t, side = f.segment(y, x, start, end)
    fade = np.sin(np.pi * np.clip(t, 0.04, 0.96)) ** 0.5
    near = f.bump(distance, 3.0)
    return near * fade * (0.13 * f.bump(side - 1.3, 1.2) - 0.17 * f.bump(side + 0.6, 1.1))
