"""Cartoon cats and dogs on painted backgrounds: what draw_sample_data.py fills its files with.

A figure is drawn in its own units: the head has radius 1, its centre is (0, 0), y points down. `Pen` carries the pose that takes
those units to pixels. Fur, background and pose are drawn from the same ranges for both animals: only the shapes tell them apart.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import cv2
import numpy as np

Colour = tuple[int, int, int]  # RGB, 0..255
Points = Sequence[tuple[float, float]]

SUPERSAMPLING = 2  # drawn this much larger and averaged down: smooth edges whatever OpenCV's own anti-aliasing does

FURS: tuple[Colour, ...] = (
    (232, 150, 72),  # ginger
    (246, 226, 192),  # cream
    (146, 100, 66),  # brown
    (128, 132, 142),  # grey
    (66, 62, 70),  # black
    (244, 242, 236),  # white
    (204, 172, 124),  # sand
    (176, 88, 54),  # red
)
BACKDROPS: tuple[Colour, ...] = (
    (246, 198, 160), (158, 208, 232), (240, 222, 140), (186, 222, 168), (214, 188, 232), (236, 172, 182),
    (120, 160, 190), (96, 138, 118), (196, 142, 108), (92, 92, 128), (226, 226, 220), (146, 120, 104),
)  # fmt: skip
PINK: Colour = (242, 160, 166)
WHITE: Colour = (252, 250, 246)
INK: Colour = (38, 30, 32)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`a` with `share` (0..1) of `b` stirred in."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def luma(colour: Colour) -> float:
    """Brightness, 0..255."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


class Pen:
    """Draws on uint8 RGB (H, W, 3) through a pose: units → pixels."""

    def __init__(self, canvas: np.ndarray, matrix: np.ndarray) -> None:
        self.canvas, self.matrix = canvas, matrix  # matrix: float64 (2, 3)
        self.unit = math.sqrt(abs(np.linalg.det(matrix[:, :2])))  # pixels a unit

    def shifted(self, x: float, y: float, angle: float = 0.0) -> Pen:
        """The same pen with its origin moved by (x, y) units and turned by `angle` radians."""
        cos, sin = math.cos(angle), math.sin(angle)
        local = np.array([[cos, -sin, x], [sin, cos, y], [0, 0, 1]])
        return Pen(self.canvas, self.matrix @ local)

    def _pixels(self, points: Points) -> np.ndarray:
        placed = np.asarray(points, np.float64) @ self.matrix[:, :2].T + self.matrix[:, 2]
        return np.round(placed * 16).astype(np.int32)  # 1/16 pixel: shift=4 below

    def fill(self, points: Points, colour: Colour, edge: Colour | None = None, width: float = 0.05) -> None:
        """A polygon, with an outline of `edge` when given; `width` in units."""
        pixels = self._pixels(points)
        cv2.fillPoly(self.canvas, [pixels], colour, cv2.LINE_AA, 4)
        if edge is not None:
            cv2.polylines(self.canvas, [pixels], True, edge, self._thickness(width), cv2.LINE_AA, 4)

    def blob(self, points: Points, colour: Colour, edge: Colour | None = None) -> None:
        """A smooth closed shape through `points`."""
        self.fill(_smooth(points), colour, edge)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour, edge: Colour | None = None) -> None:
        """An ellipse around (x, y)."""
        self.fill(_arc(x, y, rx, ry, 0, 360), colour, edge)

    def line(self, points: Points, colour: Colour, width: float = 0.05) -> None:
        """An open line through `points`; `width` in units."""
        cv2.polylines(self.canvas, [self._pixels(points)], False, colour, self._thickness(width), cv2.LINE_AA, 4)

    def arc(self, x: float, y: float, rx: float, ry: float, start: float, end: float, colour: Colour, width: float = 0.05) -> None:
        """Part of an ellipse's outline, from `start` to `end` degrees clockwise from 3 o'clock."""
        self.line(_arc(x, y, rx, ry, start, end), colour, width)

    def _thickness(self, width: float) -> int:
        return max(1, round(width * self.unit))


def _arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> Points:
    angles = np.radians(np.linspace(start, end, 49))
    return list(zip((x + rx * np.cos(angles)).tolist(), (y + ry * np.sin(angles)).tolist(), strict=True))


def _smooth(points: Points) -> Points:
    """A closed Catmull-Rom curve through `points`."""
    p = np.asarray(points, np.float64)
    before, after, later = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    t = np.linspace(0, 1, 12, endpoint=False)[:, None, None]
    curve = 0.5 * (
        2 * p + (after - before) * t + (2 * before - 5 * p + 4 * after - later) * t**2 + (3 * p - before - 3 * after + later) * t**3
    )
    return [(x, y) for x, y in curve.transpose(1, 0, 2).reshape(-1, 2).tolist()]


def _both(points: Points) -> tuple[Points, Points]:
    """A shape and its mirror image: left and right ear, eye, paw."""
    return points, [(-x, y) for x, y in points]


# ---- the animals ------------------------------------------------------------------------------------------------------------------------


def draw_cat(pen: Pen, rng: random.Random) -> None:
    """Pointed ears, whiskers, round eyes with slit pupils."""
    fur = rng.choice(FURS)
    coat = rng.choice(("plain", "tabby", "tabby", "tuxedo", "mask", "patches"))
    edge, dark, light = mix(fur, INK, 0.62), mix(fur, INK, 0.42 if luma(fur) > 100 else 0.7), mix(fur, WHITE, 0.72)
    turn, nod = rng.uniform(-0.75, 0.75), rng.uniform(-0.5, 0.7)
    _cat_tail(pen, rng, fur, edge, dark if coat in ("tabby", "mask") else fur)
    _body(pen, rng, fur, edge, light if coat in ("tuxedo", "tabby") else fur)

    spread, height = rng.uniform(0.72, 0.9), rng.uniform(1.3, 1.6)
    ear_fur = dark if coat == "mask" else fur
    for ear, inner in zip(
        _both([(0.96, -0.3), (0.97, -0.75), (spread, -height), (0.5, -1.12), (0.12, -0.7)]),
        _both([(0.86, -0.55), (spread - 0.02, -height + 0.22), (0.36, -0.82)]),
        strict=True,
    ):
        pen.fill(ear, ear_fur, edge)
        pen.fill(inner, mix(PINK, ear_fur, 0.25))

    plump = rng.uniform(1.0, 1.12)
    cheeks = [(0, -0.86), (0.55, -0.74), (0.93, -0.32), (1.0 * plump, 0.2), (0.74, 0.62), (0.3, 0.84)]
    pen.blob([*cheeks, *((-x, y) for x, y in reversed(cheeks[1:]))], fur, edge)
    face = pen.shifted(0.2 * turn, 0.1 * nod)
    if coat == "tabby":
        for x, length in ((-0.22, 0.26), (0, 0.34), (0.22, 0.26)):
            face.line([(x, -0.76), (x * 0.8, -0.76 + length)], dark, 0.1)
        for stripe in (*_both([(0.93, 0.1), (0.66, 0.14)]), *_both([(0.86, 0.36), (0.62, 0.34)])):
            face.line(stripe, dark, 0.09)
    elif coat == "mask":
        face.ellipse(0, 0.18, 0.62, 0.52, dark)
    elif coat == "patches":
        side = rng.choice((-1, 1))
        pen.blob([(side * x, y) for x, y in ((0.08, -0.78), (0.5, -0.7), (0.84, -0.3), (0.62, 0.12), (0.2, -0.1))], dark)
    if coat in ("tuxedo", "tabby", "patches"):
        face.blob([(0, 0.06), (0.28, 0.26), (0.46, 0.5), (0.2, 0.72), (-0.2, 0.72), (-0.46, 0.5), (-0.28, 0.26)], light)

    iris = rng.choice(((142, 196, 84), (236, 200, 60), (120, 190, 220), (224, 150, 50), (98, 178, 130)))
    slit, size = rng.uniform(0.04, 0.09), rng.uniform(0.23, 0.29)
    wink = rng.choice((-1, 1)) if rng.random() < 0.06 else 0
    for side in (-1, 1):
        x = 0.43 * side
        if side == wink:
            face.arc(x, -0.1, size * 0.9, size * 0.5, 15, 165, edge, 0.07)
            continue
        face.ellipse(x, -0.06, size, size * 0.95, iris, INK)
        face.ellipse(x + 0.04 * turn, -0.06, slit, size * 0.8, INK)
        face.ellipse(x + 0.09, -0.15, 0.055, 0.055, WHITE)

    snout = pen.shifted(0.27 * turn, 0.14 * nod)
    snout.fill([(-0.13, 0.24), (0.13, 0.24), (0, 0.4)], PINK if luma(fur) > 90 or coat == "tuxedo" else mix(PINK, INK, 0.3), edge, 0.03)
    for side in (-1, 1):
        snout.arc(0.13 * side, 0.42, 0.13, 0.13, 0, 180, INK, 0.045)
    whisker = WHITE if luma(fur) < 170 else mix(fur, INK, 0.72)
    droop = rng.uniform(-0.08, 0.14)
    for side in (-1, 1):
        for k in (-1, 0, 1):
            snout.line(
                [(0.34 * side, 0.42 + 0.07 * k), (0.85 * side, 0.38 + droop + 0.17 * k), (1.3 * side, 0.46 + droop * 2 + 0.26 * k)],
                whisker,
                0.032,
            )
    _ornament(pen, rng, bell=True)


def draw_dog(pen: Pen, rng: random.Random) -> None:
    """Drooping ears, a long snout, most often a tongue."""
    fur = rng.choice(FURS)
    coat = rng.choice(("plain", "plain", "blaze", "eye patch", "tan points", "spots"))
    edge, dark, light = mix(fur, INK, 0.62), mix(fur, INK, 0.42 if luma(fur) > 100 else 0.7), mix(fur, WHITE, 0.72)
    turn, nod = rng.uniform(-0.75, 0.75), rng.uniform(-0.5, 0.6)
    _dog_tail(pen, rng, fur, edge)
    _body(pen, rng, fur, edge, light if coat in ("blaze", "tan points") else fur)

    skull = [(0, -0.95), (0.5, -0.86), (0.8, -0.45), (0.84, 0.05), (0.7, 0.5), (0.4, 0.85), (0, 0.95)]
    pen.blob([*skull, *((-x, y) for x, y in reversed(skull[1:-1]))], fur, edge)
    if coat == "spots":
        for _ in range(5):
            pen.ellipse(rng.uniform(-0.5, 0.5), rng.uniform(-0.7, -0.3), rng.uniform(0.06, 0.13), rng.uniform(0.06, 0.12), dark)
    face = pen.shifted(0.2 * turn, 0.1 * nod)
    if coat == "blaze":
        face.blob([(0, -0.92), (0.15, -0.5), (0.2, 0.1), (-0.2, 0.1), (-0.15, -0.5)], light)
    elif coat == "eye patch":
        side = rng.choice((-1, 1))
        face.ellipse(0.36 * side, -0.2, 0.3, 0.34, dark if luma(fur) > 100 else light)
    elif coat == "tan points":
        for side in (-1, 1):
            face.ellipse(0.34 * side, -0.46, 0.13, 0.09, mix((206, 138, 72), fur, 0.2))

    long, wide, lift = rng.uniform(0.75, 1.15), rng.uniform(0.9, 1.15), rng.uniform(0, 0.3)
    ear_fur = rng.choice((fur, dark, dark))
    for ear in _both(
        [
            (0.42, -0.88),
            (0.85, -0.86 - lift * 0.4),
            (1.2 * wide, -0.35 - lift),
            (1.22 * wide, 0.25 * long),
            (1.0, 0.72 * long),
            (0.78, 0.4 * long),
            (0.72, -0.2),
        ]
    ):
        pen.blob(ear, ear_fur, edge)

    wink = rng.choice((-1, 1)) if rng.random() < 0.06 else 0
    for side in (-1, 1):
        x = 0.36 * side
        if side == wink:
            face.arc(x, -0.16, 0.14, 0.1, 195, 345, edge, 0.07)
        else:
            face.ellipse(x, -0.18, 0.17, 0.18, WHITE if luma(fur) < 130 else mix(fur, WHITE, 0.8), edge)
            face.ellipse(x + 0.03 * turn, -0.16, 0.125, 0.14, (62, 36, 26))
            face.ellipse(x + 0.06, -0.22, 0.04, 0.04, WHITE)
        face.arc(x, -0.36, 0.16, 0.1, 210, 330, edge, 0.06)

    snout = pen.shifted(0.4 * turn, 0.18 * nod)  # it stands out of the face, so a turned head moves it further than the eyes
    if rng.random() < 0.82:
        lick = rng.uniform(-0.12, 0.12)
        tongue = [(-0.17, 0.72), (0.17, 0.72), (0.2 + lick, 1.02), (0.1 + lick, 1.24), (-0.1 + lick, 1.24), (-0.2 + lick, 1.02)]
        snout.blob(tongue, (232, 96, 112), (160, 50, 66))
        snout.line([(0, 0.8), (lick, 1.1)], (176, 60, 78), 0.045)
    muzzle = light if coat != "plain" or luma(fur) < 100 else mix(fur, WHITE, 0.45)
    snout.blob(
        [
            (0, 0.02),
            (0.26, 0.1),
            (0.52, 0.46),
            (0.46, 0.8),
            (0.16, 0.86),
            (0, 0.78),
            (-0.16, 0.86),
            (-0.46, 0.8),
            (-0.52, 0.46),
            (-0.26, 0.1),
        ],
        muzzle,
        edge,
    )
    snout.blob([(-0.24, 0.14), (0, 0.06), (0.24, 0.14), (0.17, 0.32), (0, 0.4), (-0.17, 0.32)], INK)
    snout.ellipse(-0.07, 0.15, 0.06, 0.03, (150, 146, 150))
    snout.line([(0, 0.38), (0, 0.6)], INK, 0.05)
    for side in (-1, 1):
        snout.arc(0.19 * side, 0.56, 0.19, 0.14, 10, 170, INK, 0.05)
        for k in range(3):
            snout.ellipse((0.26 + 0.07 * k) * side, 0.46 + 0.06 * (k % 2), 0.02, 0.02, edge)
    _ornament(pen, rng, bell=False)


def _body(pen: Pen, rng: random.Random, fur: Colour, edge: Colour, chest: Colour) -> None:
    """Shoulders, chest and front legs, the same for both animals; a portrait cuts off what does not fit."""
    wide = rng.uniform(0.92, 1.15)
    for side in (-1, 1):  # hind paws
        pen.ellipse(0.85 * wide * side, 2.72, 0.42, 0.26, fur, edge)
    flank = [(0.3, 0.5), (0.62, 0.95), (0.92 * wide, 1.7), (1.02 * wide, 2.4), (0.6, 2.86)]
    pen.blob([*flank, *((-x, y) for x, y in reversed(flank))], fur, edge)
    pen.blob([(0, 0.8), (0.36, 1.05), (0.34, 1.6), (0, 1.9), (-0.34, 1.6), (-0.36, 1.05)], chest)
    for side in (-1, 1):  # front legs
        pen.line([(0.08 * side, 2.1), (0.06 * side, 2.8)], edge, 0.045)
        pen.ellipse(0.28 * side, 2.82, 0.27, 0.17, mix(fur, chest, 0.6), edge)


def _cat_tail(pen: Pen, rng: random.Random, fur: Colour, edge: Colour, tip: Colour) -> None:
    side, curl = rng.choice((-1, 1)), rng.uniform(0.1, 0.5)
    spine = [(side * x, y) for x, y in ((0.7, 2.6), (1.25, 2.55), (1.6, 2.1), (1.45 + curl * 0.4, 1.5), (1.5 + curl, 1.0))]
    pen.line(spine, edge, 0.4)
    pen.line(spine, fur, 0.31)
    pen.line(spine[-2:], tip, 0.31)


def _dog_tail(pen: Pen, rng: random.Random, fur: Colour, edge: Colour) -> None:
    side, wag = rng.choice((-1, 1)), rng.uniform(-0.2, 0.3)
    spine = [(side * x, y) for x, y in ((0.7, 2.5), (1.2, 2.2), (1.5 + wag * 0.4, 1.75 - wag))]
    pen.line(spine, edge, 0.4)
    pen.line(spine, fur, 0.31)


def _ornament(pen: Pen, rng: random.Random, bell: bool) -> None:
    """For one in three a collar, which hangs below the chin."""
    if rng.random() > 0.35:
        return
    band = rng.choice(((206, 60, 60), (52, 110, 190), (70, 150, 96), (240, 190, 60), (150, 80, 170)))
    pen.arc(0, 0.72, 0.62, 0.5, 30, 150, band, 0.15)
    pen.ellipse(0, 1.32, 0.13 if bell else 0.15, 0.13, (246, 206, 84), mix((246, 206, 84), INK, 0.5))


# ---- backgrounds ------------------------------------------------------------------------------------------------------------------------


def _blend(height: int, width: int, top: Colour, bottom: Colour, angle: float) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    share = np.clip(0.5 + 0.5 * (y * math.cos(angle) + x * math.sin(angle)), 0, 1)[..., None]
    return np.round(np.array(top) * (1 - share) + np.array(bottom) * share).astype(np.uint8)


def _gradient(height: int, width: int, rng: random.Random) -> np.ndarray:
    top, bottom = rng.sample(BACKDROPS, 2)
    return _blend(height, width, top, bottom, rng.uniform(-1.5, 1.5))


def _stripes(height: int, width: int, rng: random.Random) -> np.ndarray:
    one, two = rng.sample(BACKDROPS, 2)
    two = mix(one, two, rng.uniform(0.3, 0.8))
    angle, period = rng.uniform(0, math.pi), rng.uniform(0.06, 0.2) * min(height, width)
    y, x = np.mgrid[0:height, 0:width]
    band = (x * math.cos(angle) + y * math.sin(angle)) % period < period / 2
    return np.where(band[..., None], np.array(one, np.uint8), np.array(two, np.uint8))


def _dots(height: int, width: int, rng: random.Random) -> np.ndarray:
    ground, dot = rng.sample(BACKDROPS, 2)
    canvas = np.full((height, width, 3), ground, np.uint8)
    step = max(6, round(rng.uniform(0.1, 0.2) * min(height, width)))
    for row, y in enumerate(range(0, height + step, step)):
        for x in range((row % 2) * step // 2, width + step, step):
            cv2.circle(canvas, (x, y), step // 4, dot, -1, cv2.LINE_AA)
    return canvas


def _meadow(height: int, width: int, rng: random.Random) -> np.ndarray:
    sky = rng.choice(((150, 204, 240), (248, 200, 150), (200, 214, 226)))
    canvas = _blend(height, width, sky, mix(sky, WHITE, 0.6), 0)
    cv2.circle(canvas, (rng.randrange(width), round(height * 0.18)), round(height * 0.09), (255, 236, 150), -1, cv2.LINE_AA)
    for _ in range(3):
        x, y = rng.randrange(width), rng.randrange(height // 3)
        for k in (-1, 0, 1):
            cv2.circle(canvas, (x + k * height // 16, y), height // (16 if k else 12), WHITE, -1, cv2.LINE_AA)
    green = rng.choice(((112, 172, 84), (144, 180, 92), (92, 146, 96), (190, 170, 96)))
    for shade, level in ((0.25, 0.55), (0, 0.68)):
        centre = (rng.randrange(width), round(height * (level + 0.9)))
        cv2.ellipse(canvas, centre, (round(width * 1.3), round(height * 0.95)), 0, 0, 360, mix(green, WHITE, shade), -1, cv2.LINE_AA)
    for _ in range(140):
        x, y = rng.randrange(width), round(height * rng.uniform(0.72, 1.02))
        tip = (x + rng.randint(-height // 60, height // 60), y - round(height * rng.uniform(0.03, 0.08)))
        cv2.line(canvas, (x, y), tip, mix(green, INK, rng.uniform(0.1, 0.35)), max(1, height // 160), cv2.LINE_AA)
    return canvas


def _room(height: int, width: int, rng: random.Random) -> np.ndarray:
    wall, floor = rng.sample(BACKDROPS, 2)
    canvas = _blend(height, width, wall, mix(wall, INK, 0.15), 0)
    level = round(height * rng.uniform(0.62, 0.8))
    canvas[level:] = mix(floor, INK, 0.2)
    for y in range(level, height, max(4, height // 14)):
        cv2.line(canvas, (0, y), (width, y), mix(floor, INK, 0.35), max(1, height // 200))
    canvas[level - height // 40 : level] = mix(wall, WHITE, 0.6)
    side = rng.choice((0.02, 0.62))
    x, y, w, h = round(width * side), round(height * 0.08), round(width * 0.34), round(height * 0.42)
    cv2.rectangle(canvas, (x, y), (x + w, y + h), mix(wall, WHITE, 0.8), -1)
    pane = rng.choice(((170, 214, 240), (60, 70, 120), (250, 214, 160)))
    gap = max(2, height // 50)
    for i in (0, 1):
        for j in (0, 1):
            left, top = x + gap + i * w // 2, y + gap + j * h // 2
            cv2.rectangle(canvas, (left, top), (left + w // 2 - 2 * gap, top + h // 2 - 2 * gap), pane, -1)
    return canvas


def _lights(height: int, width: int, rng: random.Random) -> np.ndarray:
    canvas = _blend(height, width, (40, 44, 70), (96, 72, 92), rng.uniform(-1, 1))
    glow = canvas.copy()
    for _ in range(26):
        centre, radius = (rng.randrange(width), rng.randrange(height)), round(min(height, width) * rng.uniform(0.03, 0.1))
        cv2.circle(glow, centre, radius, rng.choice(BACKDROPS), -1, cv2.LINE_AA)
    return cv2.addWeighted(canvas, 0.5, cv2.GaussianBlur(glow, (0, 0), height / 120), 0.5, 0)


_BACKGROUNDS: tuple[Callable[[int, int, random.Random], np.ndarray], ...] = (_gradient, _gradient, _stripes, _dots, _meadow, _room, _lights)

# ---- the picture ------------------------------------------------------------------------------------------------------------------------


def draw(animal: str, width: int, height: int, rng: random.Random) -> np.ndarray:
    """uint8 RGB (height, width, 3): a "cat" or a "dog" inside the central square, filling 45 to 90 % of it."""
    tall, wide = height * SUPERSAMPLING, width * SUPERSAMPLING
    canvas = np.ascontiguousarray(rng.choice(_BACKGROUNDS)(tall, wide, rng))
    short = min(tall, wide)
    if rng.random() < 0.18:  # the whole animal, sitting
        unit, x, y = short * rng.uniform(0.19, 0.215), rng.uniform(-0.06, 0.06), rng.uniform(-0.2, -0.15)
        tilt = rng.uniform(-0.12, 0.12)
    else:  # a portrait
        unit, x, y = short * rng.uniform(0.26, 0.34), rng.uniform(-0.1, 0.1), rng.uniform(-0.06, 0.08)
        tilt = rng.uniform(-0.35, 0.35)
    mirror = rng.choice((-1.0, 1.0))
    pose = np.array([[unit * mirror, 0, wide / 2 + x * short], [0, unit * rng.uniform(0.93, 1.08), tall / 2 + y * short], [0, 0, 1]])
    (draw_cat if animal == "cat" else draw_dog)(Pen(canvas, pose[:2]).shifted(0, 0, tilt), rng)
    picture = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return _photographed(picture, rng)


def _photographed(picture: np.ndarray, rng: random.Random) -> np.ndarray:
    """Light, blur and sensor noise, each drawn from ranges that both animals share."""
    light = rng.uniform(0.75, 1.12)
    tint = np.array([rng.uniform(0.92, 1.06) for _ in range(3)])
    pixels: np.ndarray = picture * (light * tint)
    if rng.random() < 0.4:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.4, 1.0) * min(picture.shape[:2]) / 240)
    if rng.random() < 0.5:
        noise = np.random.Generator(np.random.PCG64(rng.getrandbits(64))).standard_normal(picture.shape)
        pixels = pixels + noise * rng.uniform(1, 7)
    return np.clip(np.round(pixels), 0, 255).astype(np.uint8)
