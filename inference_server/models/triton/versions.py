"""Which versions of a model in Triton's repository are meant."""

import re
from pathlib import Path
from typing import Any, Final

from utils.errors import ModelNotFound

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,17}")


def chosen(config: Any, repository: Path, version: str) -> list[int]:  # noqa: ANN401 - made at run time
    """The numbers of the versions, the lowest first.

    Args:
        config: Of the model, whose version policy counts where no version is named.
        repository: The folder of the model, in which versions are folders with numbers.
        version: The one that is meant; empty for those of the policy.

    Raises:
        ModelNotFound: There is none of them.
    """
    there = sorted(
        int(folder.name)
        for folder in repository.iterdir()
        if _NUMBER.fullmatch(folder.name) and folder.is_dir()
    )
    wanted = _wanted(config.version_policy, there) if not version else [version]
    missing = sorted({str(one) for one in wanted} - {str(one) for one in there})
    if missing or not wanted:
        listed = ", ".join(map(str, there)) or "none"
        raise ModelNotFound(
            f"There is no version {', '.join(missing) or 'of the model'} beside the configuration; "
            f"there are {listed}",
            field="version",
        )
    return sorted(int(one) for one in wanted)


def _wanted(policy: Any, there: list[int]) -> list[int]:  # noqa: ANN401 - a ModelVersionPolicy
    match policy.WhichOneof("policy_choice"):
        case "all":
            return there
        case "specific":
            return [*policy.specific.versions]
        case _:
            return there[-(policy.latest.num_versions or 1) :]
