"""`facet doctor` itself."""

import os
from collections.abc import Iterator

import click

from cli.doctor.findings import Finding, Level
from cli.text import one_line, show_table
from utils.settings import InvalidSetting, Settings, unknown_settings

_COLOURS: dict[Level, str] = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "red"}
_INDENT = 20


@click.command()
@click.option("--settings", "lists_settings", is_flag=True, help="List all settings with values and origins.")
@click.pass_context
def doctor(context: click.Context, *, lists_settings: bool) -> None:
    """Say what this machine has, which engine runs and why, what is wrong, and what helps."""
    if lists_settings:
        from cli.doctor.settings import rows  # noqa: PLC0415 - of this option alone

        show_table([("SETTING", "VALUE", "ORIGIN"), *rows(Settings.from_environ(os.environ), os.environ)])
        return
    worst = 0
    for finding in _findings():
        _show(finding)
        worst |= finding.level == "error"
    context.exit(worst)


def _findings() -> Iterator[Finding]:
    from cli.doctor.engine import look_at_engine  # noqa: PLC0415 - not for the help of all commands
    from cli.doctor.machine import look_at_machine  # noqa: PLC0415
    from cli.doctor.places import look_at_places  # noqa: PLC0415

    for warning in unknown_settings(os.environ):
        yield Finding("warning", "settings", warning)
    try:
        settings = Settings.from_environ(os.environ)
    except InvalidSetting as error:
        yield Finding("error", "settings", str(error), "docs/settings.md has all of them.")
        return
    yield Finding("ok", "settings", "all can be used; --settings lists them")
    yield from look_at_machine(settings)
    yield from look_at_engine(settings)
    yield from look_at_places(settings)


def _show(finding: Finding) -> None:
    level = click.style(f"{finding.level:<8}", fg=_COLOURS[finding.level])
    click.echo(f"{level} {finding.subject:<{_INDENT - 9}}{one_line(finding.text)}")
    if finding.help:
        click.echo(" " * _INDENT + finding.help)
