"""A group of commands that are imported when one is run, so that none pays for what others need."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """A group whose commands are named by their modules.

    Args:
        modules: For each command, in the order of the help, `module:attribute`. The help of the group imports
            all of them, so a module leaves what takes long to import to its functions.
        arguments: As `click.Group` takes them.
    """

    def __init__(self, *, modules: Mapping[str, str], **arguments: Any) -> None:  # noqa: ANN401 - as click's
        super().__init__(**arguments)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click calls it
        """The names of all commands."""
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command; None where there is none of that name."""
        if cmd_name not in self._modules:
            return None
        module, _, attribute = self._modules[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, which knows no names of commands that are not imported to suggest one."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(error.command_name, possibilities=self._modules, ctx=ctx) from None
