"""What a command that fails leaves on standard error: one line."""

import contextlib
import errno
import sys
from collections.abc import Iterator
from typing import IO, Any

import click

from cli.text import one_line
from utils.errors import BackendUnavailable, FacetError
from utils.settings import InvalidSetting


class Failure(click.ClickException):
    """The command was understood, but cannot be done; the process ends with 1.

    Args:
        reason: As in docs/errors.md, or of the command line's own: INVALID_SETTING, FILE_ERROR, ...
        detail: For whoever typed the command, who may see paths of files.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason

    def show(self, file: IO[Any] | None = None) -> None:
        """Write `facet: REASON: detail`."""
        click.echo(one_line(f"facet: {self.reason}: {self.message}"), file=file or sys.stderr)


class Unreachable(Failure):
    """Nobody answers: the service, or the backend of this machine, is not there; the process ends with 3."""

    exit_code = 3


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """Turn what is expected to go wrong into a Failure; a fault of ours keeps its traceback."""
    try:
        yield
    except BackendUnavailable as error:
        raise Unreachable(error.reason, error.detail) from error
    except FacetError as error:
        raise Failure(error.reason, error.detail) from error
    except InvalidSetting as error:
        raise Failure("INVALID_SETTING", str(error)) from error
    except ModuleNotFoundError as error:
        detail = f"this command needs {error.name}, which the extra `serve` of facet-serving installs"
        raise Failure("NOT_INSTALLED", detail) from error
    except OSError as error:
        if error.errno == errno.EPIPE:  # whoever read our output has gone, of which click makes an end
            raise
        raise Failure("FILE_ERROR", str(error)) from error
