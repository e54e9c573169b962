"""Confidences as pixels: a font of digits."""

from functools import cache

import numpy as np
import numpy.typing as npt

_GLYPHS = {
    "0": ("###", "#.#", "#.#", "#.#", "###"),
    "1": (".#.", "##.", ".#.", ".#.", "###"),
    "2": ("###", "..#", "###", "#..", "###"),
    "3": ("###", "..#", "###", "..#", "###"),
    "4": ("#.#", "#.#", "###", "..#", "..#"),
    "5": ("###", "#..", "###", "..#", "###"),
    "6": ("###", "#..", "###", "#.#", "###"),
    "7": ("###", "..#", "..#", "..#", "..#"),
    "8": ("###", "#.#", "###", "#.#", "###"),
    "9": ("###", "#.#", "###", "..#", "###"),
    ".": (".", ".", ".", ".", "#"),
}


@cache
def label(confidence: str, scale: int) -> npt.NDArray[np.bool_]:
    """Where a confidence such as 0.98 has ink, (height, width), with a margin around it.

    Args:
        confidence: Digits and a point.
        scale: Pixels of a dot of the font.
    """
    rows = [".".join(_GLYPHS[character][row] for character in confidence) for row in range(5)]
    dots = np.array([[dot == "#" for dot in row] for row in rows])
    return np.pad(dots, 1).repeat(scale, axis=0).repeat(scale, axis=1)
