"""Programs of the system that tests need."""

import os
import shutil

import pytest


def tool(program: str, package: str) -> str:
    """The path of a program, which a Debian package has; without it the test is skipped, and fails in CI.

    Args:
        program: Its name, looked for in PATH and where Debian keeps servers.
        package: The name of the package.
    """
    path = shutil.which(program, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/usr/bin")
    if path is None:
        assert "CI" not in os.environ, f"{program} is not installed: apt-get install {package}"
        pytest.skip(f"{program} is not installed: apt-get install {package}")
    return path
