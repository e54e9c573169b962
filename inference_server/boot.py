"""How a worker or a model worker begins, and how one ends that cannot boot."""

import argparse
import logging
import os
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, NoReturn

from inference_server.dispatch.shared import LayoutMismatch
from inference_server.supervision.control import BootFailed, WorkerEnd, inherited_control
from inference_server.supervision.processes import die_with_parent
from utils import logs
from utils.errors import FacetError, InvalidModel
from utils.logs import fields
from utils.memory import tune_heap
from utils.settings import Settings

logger = logging.getLogger(__name__)

EXIT_BOOT_FAILURE = 3
EXIT_DIED = 4
"""Of one whose consumer, or whose supervisor, has died."""

_LONGEST_REASON = 500


class Begun(NamedTuple):
    """What a process begins with: its arguments, the operator's settings, and the line to the supervisor."""

    arguments: argparse.Namespace
    settings: Settings
    control: WorkerEnd


def begin(description: str, *, newer: Mapping[str, str] = MappingProxyType({}), **own: str) -> Begun:
    """Read the command line that the supervisor has written, and make this a child of it that logs.

    Args:
        description: Of the program.
        newer: Those of `own` that a supervisor of an earlier release does not say; they are empty then.
        own: What each argument means that only this program has, by its name; their values are texts.
    """
    parser = argparse.ArgumentParser(description=f"{description} The supervisor starts it.")
    for name, meaning in own.items():
        parser.add_argument(f"--{name.replace('_', '-')}", required=True, help=meaning)
    for name, meaning in newer.items():
        parser.add_argument(f"--{name.replace('_', '-')}", default="", help=meaning)
    parser.add_argument("--control-fd", type=int, required=True, help="the line to the supervisor")
    parser.add_argument("--parent", type=int, required=True, help="the supervisor's process id")
    parser.add_argument("--shared", required=True, help="descriptors of what all processes share")
    parser.add_argument("--slot", type=int, required=True, help="this process's place among them")
    parser.add_argument("--generation", type=int, required=True, help="its number among all there were")
    # A supervisor of an earlier release does not say it.
    parser.add_argument("--log-level", choices=logs.LEVELS, default="INFO", help="what is logged, and above")
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    tune_heap()
    settings = Settings.from_environ(os.environ)
    logs.configure(settings.log_format)
    logs.set_level(arguments.log_level)
    return Begun(arguments, settings, inherited_control(arguments.control_fd))


def fail(
    control: WorkerEnd, error: Exception, permanent_errors: tuple[type[Exception], ...] = ()
) -> NoReturn:
    """Tell the supervisor, in one line, why this worker cannot boot, and whether any ever can, and end.

    Args:
        control: The line to the supervisor.
        error: Why.
        permanent_errors: Those of the model that every other worker would meet, too. Anything else, such as
            want of memory, may pass.
    """
    permanent = isinstance(error, (LayoutMismatch, *permanent_errors))
    # What is permanent says to the operator what to do; neither class nor traceback would add to that.
    kind = "" if permanent or isinstance(error, FacetError) else f"{type(error).__name__}: "
    reason = " ".join(f"{kind}{error}".split())[:_LONGEST_REASON]
    logger.error(
        "the worker cannot start", exc_info=None if permanent else error, extra=fields(reason=reason)
    )
    invalid = isinstance(error, InvalidModel)
    at_fault = (error.field or "") if isinstance(error, InvalidModel) else ""
    control.send(BootFailed(reason, permanent, invalid, at_fault))
    sys.exit(EXIT_BOOT_FAILURE)
