"""`facet detect`: find the faces in files and folders."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click

from cli.detect.formats import FORMATS
from cli.detect.options import Asked, asked, asks
from cli.detect.output import Done, Output, go_on, open_output, start_anew
from cli.detect.pictures import STDIN, Pictures
from cli.detect.progress import Progress
from cli.detect.run import Finder, Run
from cli.detect.service import ServiceFinder
from cli.service import calls_service, connect
from utils.cpus import usable_cpus
from utils.settings import Settings


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1)
@click.option("--files-from", type=click.File(), metavar="FILE", help="Read more PATHs from it, one a line.")
@click.option("--local", is_flag=True, help="Search by processes of this command, without a service.")
@click.option(
    "--processes", type=click.IntRange(1, 1024), help="How many, with --local; else one for each CPU."
)
@calls_service
@asks
@click.option(
    "--format",
    "form",
    type=click.Choice([*FORMATS]),
    help="Of the results; else a table on a terminal, NDJSON elsewhere.",
)
@click.option(
    "--output",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the results to this file.",
)
@click.option("--resume", is_flag=True, help="Go on with the output: leave out the pictures that it has.")
@click.option("--force", is_flag=True, help="Replace the output, if there is one.")
@click.option("--quiet", is_flag=True, help="Show no progress and no summary.")
@click.pass_context
def detect(
    context: click.Context,
    /,
    *,
    paths: tuple[str, ...],
    files_from: IO[str] | None,
    local: bool,
    processes: int | None,
    address: str | None,
    timeout: float,
    form: str | None,
    path: Path | None,
    resume: bool,
    force: bool,
    quiet: bool,
    **options: Any,  # noqa: ANN401 - those of `asks`
) -> None:
    """Find the faces in pictures.

    PATH is a picture, a folder, which is searched with all folders in it, a pattern such as
    '2024-*/**/*.jpg', or - for a picture on standard input.
    """
    on_terminal = path is None and sys.stdout.isatty()
    form = form or ("table" if on_terminal else "ndjson")
    names = [*paths, *(line.rstrip("\n") for line in files_from or ())]
    _check_output(names, form, path, resume=resume, force=force)
    _check_way(local=local, address=address, processes=processes)
    what = asked(**options)
    with contextlib.ExitStack() as at_end:
        file, before = _open(path, resume=resume, force=force, at_end=at_end)
        pictures = Pictures(names, what.folders, before.keys)
        progress = Progress(pictures.count, shown=not quiet)
        way = _local(processes or usable_cpus(), timeout, what) if local else _service(address, timeout, what)
        finder = at_end.enter_context(way)
        output = Output(FORMATS[form], file)
        output.begin()
        resumable = path is not None and form == "ndjson"
        run = Run(pictures, before, what, output, progress, shares_terminal=on_terminal, can_resume=resumable)
        try:
            status = run.go(finder)
        finally:
            progress.clear()
            if not quiet:
                click.echo(run.summary(), err=True)
    context.exit(status)


def _check_output(names: list[str], form: str, path: Path | None, *, resume: bool, force: bool) -> None:
    if not names:
        raise click.UsageError("Missing argument 'PATH...'.")
    if resume and (path is None or form != "ndjson" or STDIN in names):
        raise click.UsageError("--resume needs --output, in NDJSON, and pictures that are files.")
    if resume and force:
        raise click.UsageError("--resume goes on with the output, and --force replaces it: one of the two.")


def _check_way(*, local: bool, address: str | None, processes: int | None) -> None:
    if local and address is not None:
        raise click.UsageError("--local calls no service: it does not go with --address.")
    if processes is not None and not local:
        raise click.UsageError("--processes is for --local.")


def _open(
    path: Path | None, *, resume: bool, force: bool, at_end: contextlib.ExitStack
) -> tuple[IO[bytes], Done]:
    """Where results go, and what is there already."""
    if path is None:
        return sys.stdout.buffer, Done()
    file = at_end.enter_context(open_output(path))
    if resume:
        return file, go_on(file, path)
    start_anew(file, path, force=force)
    return file, Done()


@contextlib.contextmanager
def _service(address: str | None, timeout: float, what: Asked) -> Iterator[Finder]:
    settings = Settings.from_environ(os.environ)
    with connect(address, timeout) as client:
        yield ServiceFinder(client, settings.max_image_bytes, what)


@contextlib.contextmanager
def _local(processes: int, timeout: float, what: Asked) -> Iterator[Finder]:
    from cli.detect.local import LocalFinder  # noqa: PLC0415 - loads what searches

    def tell(text: str) -> None:
        click.echo(text, err=True)

    with LocalFinder(processes, Settings.from_environ(os.environ), what, timeout, tell) as finder:
        yield finder
