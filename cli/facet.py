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
    help="Find faces, serve them, and manage a Facet that runs on this machine, and its keys.",
    epilog="Settings come from the environment, as for the backend. docs/cli.md has the exit statuses.",
    modules={
        "detect": "cli.detect.command:detect",
        "predict": "cli.predict:predict",
        "serve": "cli.serve:serve",
        "status": "cli.status:status",
        "doctor": "cli.doctor.command:doctor",
        "models": "cli.models:models",
        "keys": "cli.keys:keys",
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
