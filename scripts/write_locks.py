"""`make lock`: write locks/NAME from requirements*.txt, for all Pythons and processors that Facet runs on.

What a lock pins already stays as it is while its input allows it. Arguments are names of packages to upgrade:
to the newest release that the inputs allow.
"""

import subprocess
import sys

from scripts.locks import DEV, ROOT

_COMPILE = (
    *(sys.executable, "-m", "uv", "pip", "compile"),
    *("--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"),
    # A wheel is installed as it was hashed; a source distribution runs a build with tools that no lock names.
    *("--only-binary", ":all:", "--emit-build-options"),
    *("--no-config", "--no-emit-index-url", "--custom-compile-command", "make lock"),
)


def main() -> int:
    """Write all locks; gives uv's exit status where one cannot be written."""
    upgrades = [f"--upgrade-package={name}" for name in sys.argv[1:]]
    inputs = {path.name for path in ROOT.glob("requirements*.txt")}
    # The development lock has most packages, those that serve among them: the others take its versions.
    for name in (DEV, *sorted(inputs - {DEV})):
        agreed = [] if name == DEV else ["--constraint", f"locks/{DEV}"]
        command = [*_COMPILE, *upgrades, *agreed, "--output-file", f"locks/{name}", name]
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        if status != 0:
            return status
        print(f"locks/{name}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
