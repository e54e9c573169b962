"""`facet models import-triton`."""

from pathlib import Path

import click

from cli.failure import Failure
from cli.models.store import in_store
from cli.text import one_line, show_table

_HEADINGS = ("KEY", "VERDICT", "WHY")


@click.command("import-triton")
@click.argument("config", metavar="CONFIG", type=click.Path(path_type=Path))
@click.option("--version", default="", help="Which version; else those of the configuration's policy.")
@click.option("--force", is_flag=True, help="Replace what the store has of these versions.")
@in_store
def import_triton(store: Path, config: Path, version: str, *, force: bool) -> None:
    """Put an ONNX model of Triton into the store.

    CONFIG is the path of its config.pbtxt. What becomes of each key is printed. Where one is refused, nothing
    is written.
    """
    from inference_server.models.triton import examine, import_versions  # noqa: PLC0415 - loads ONNX Runtime

    examined = examine(config, version)
    if examined.findings:
        show_table([_HEADINGS, *((one.key, one.verdict, one.reason) for one in examined.findings)])
    if examined.refused:
        raise Failure("INVALID_MODEL", f"nothing is written, because of {', '.join(examined.refused)}")
    for folder in import_versions(examined, store, overwrite=force):
        click.echo(one_line(f"{examined.name} {folder.name} is in the store"))
