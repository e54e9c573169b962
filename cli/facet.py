"""`facet` itself: a group of groups."""

from typing import Any

import click

from cli.failure import failures
from cli.lazy import LazyGroup


class _Root(LazyGroup):
    """The group in which all commands run."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click's
        """Run a command; what is expected to go wrong ends it with one line."""
        with failures():
            return super().invoke(ctx)


facet = _Root(
    name="facet",
    help="Manage a Facet that runs on this machine, its models, and the keys of its callers.",
    epilog="Settings come from the environment, as for the backend. A command that fails ends with 1.",
    modules={"models": "cli.models:models", "keys": "cli.keys:keys"},
    context_settings={"help_option_names": ["-h", "--help"]},
)
