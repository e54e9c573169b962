"""Multiply-adds of MTCNN's networks, counted from the shapes of their layers.

A layer counts as the package defines it, whatever an engine leaves out: every output of P-Net in every
cell, though the regression of one that is no candidate need not be computed (2 % of P-Net). Pyramid,
crops, activations, pools and all of the pipeline count for nothing: they are what a share of less than
100 % went to.
"""

from collections.abc import Iterable, Mapping, Sequence

# Convolutions: side of the kernel, channels in, channels out, pixels on a side of the output.
_RNET = ((3, 3, 28, 22), (3, 28, 48, 9), (2, 48, 64, 3))
_ONET = ((3, 3, 32, 46), (3, 32, 64, 21), (3, 64, 64, 8), (2, 64, 128, 3))
# Dense layers: inputs, outputs. The last one's outputs are two logits, four regressions, ten landmarks.
_RNET_DENSE = ((3 * 3 * 64, 128), (128, 2 + 4))
_ONET_DENSE = ((3 * 3 * 128, 256), (256, 2 + 4 + 10))


def by_stage(levels: Iterable[Sequence[int]], candidates: Mapping[str, int]) -> dict[str, int]:
    """Multiply-adds of a detection by stage.

    Args:
        levels: Width and height of each level that P-Net sees.
        candidates: How many crops R-Net (refinement) and O-Net (output) see.
    """
    return {
        "proposal": sum(proposal(*level) for level in levels),
        "refinement": refinement(candidates["refinement"]),
        "output": output(candidates["output"]),
    }


def gflop(levels: Iterable[Sequence[int]], candidates: Mapping[str, int]) -> dict[str, float]:
    """Thousands of millions of operations by stage, two for each multiply-add."""
    return {stage: 2 * count / 1e9 for stage, count in by_stage(levels, candidates).items()}


def proposal(width: int, height: int) -> int:
    """Multiply-adds of P-Net over a level of this size."""
    first = (width - 2) * (height - 2)
    columns, rows = -(-(width - 2) // 2), -(-(height - 2) // 2)
    second, third = (columns - 2) * (rows - 2), (columns - 4) * (rows - 4)
    return first * 9 * 3 * 10 + second * 9 * 10 * 16 + third * (9 * 16 * 32 + 32 * (2 + 4))


def refinement(candidates: int) -> int:
    """Multiply-adds of R-Net for so many crops."""
    return candidates * _of_crop(_RNET, _RNET_DENSE)


def output(candidates: int) -> int:
    """Multiply-adds of O-Net for so many crops."""
    return candidates * _of_crop(_ONET, _ONET_DENSE)


def _of_crop(convolutions: Iterable[tuple[int, int, int, int]], dense: Iterable[tuple[int, int]]) -> int:
    convolved = sum(side**2 * kernel**2 * before * after for kernel, before, after, side in convolutions)
    return convolved + sum(before * after for before, after in dense)
