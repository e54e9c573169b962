"""What is wanted of each picture, as options of the command."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from utils.domain import DetectOptions, DetectRequest
from utils.extras import CROP_SIZE_RANGE, Annotated, Crops, Wanted

_HELP = {
    "min_face_size": "Shorter side of the smallest face looked for, in pixels.",
    "threshold_proposal": "Score that a proposal must exceed.",
    "threshold_refine": "Score that a refined candidate must exceed.",
    "threshold_output": "Score that a face must exceed.",
    "max_faces": "Most faces of a picture, the most confident; else all.",
}
_FOLDER = click.Path(file_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of each picture.

    Attributes:
        options: Of the detection.
        wanted: Beside the faces.
        annotated: Folder for pictures with the faces drawn into them, if they are wanted.
        crops: Folder for faces cut out, if they are wanted.
    """

    options: DetectOptions
    wanted: Wanted
    annotated: Path | None
    crops: Path | None

    @property
    def folders(self) -> list[Path]:
        """Where pictures are written."""
        return [folder for folder in (self.annotated, self.crops) if folder is not None]

    def request(self, image: bytes) -> DetectRequest:
        """The request for a picture."""
        return DetectRequest(image, self.options, wanted=self.wanted)


def asks(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `Asked`, as its arguments of these names."""
    function = click.option("--quality", is_flag=True, help="Measure sharpness and more of each face.")(
        function
    )
    function = click.option(
        "--crop-size",
        type=click.IntRange(*CROP_SIZE_RANGE),
        default=Crops().size,
        show_default=True,
        help="Side of what --crops writes, in pixels.",
    )(function)
    function = click.option(
        "--crops", type=_FOLDER, metavar="FOLDER", help="Write each face, aligned, as a file in this folder."
    )(function)
    function = click.option(
        "--annotated",
        type=_FOLDER,
        metavar="FOLDER",
        help="Write each picture with its faces drawn into it, as a file in this folder.",
    )(function)
    for option in reversed(fields(DetectOptions)):
        low, high = option.metadata["bounds"]
        kind: Any = click.IntRange if isinstance(low, int) else click.FloatRange
        function = click.option(
            f"--{option.name.replace('_', '-')}",
            type=kind(low, high),
            default=option.default,
            show_default=option.default is not None,
            help=_HELP[option.name],
        )(function)
    return function


def asked(
    *,
    quality: bool,
    crop_size: int,
    crops: Path | None,
    annotated: Path | None,
    **options: Any,  # noqa: ANN401 - those of DetectOptions
) -> Asked:
    """What the options amount to."""
    wanted = Wanted(
        quality=quality,
        crops=Crops(size=crop_size) if crops is not None else None,
        annotated=Annotated() if annotated is not None else None,
    )
    return Asked(DetectOptions(**options), wanted, annotated, crops)
