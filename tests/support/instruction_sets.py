"""The instruction sets of the native engine on which tests can run here: those that this CPU has.

TEST_INSTRUCTION_SETS, names with commas between, leaves out all others, as on a CPU that lacks them.
"""

import os

from utils.settings import INSTRUCTION_SETS

ALL = INSTRUCTION_SETS[1:]


def instruction_sets() -> tuple[str, ...]:
    """Their names, best first; all there are where the engine is missing, whose tests then say so."""
    try:
        import facet_native
    except ImportError:
        return ALL
    allowed = os.environ.get("TEST_INSTRUCTION_SETS") or ",".join(ALL)
    return tuple(name for name in facet_native.instruction_sets() if name in allowed.split(","))


def lacking() -> tuple[str, ...]:
    """The names of those on which no test runs here."""
    return tuple(name for name in ALL if name not in instruction_sets())
