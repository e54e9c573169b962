"""`make test`: everything that must be true, cheapest first. Extra arguments go to pytest."""

import subprocess
import sys
import time

CHECKS = {
    "the generated code is fresh": [sys.executable, "-m", "scripts.generate_protos", "--check"],
    "the settings page is fresh": [sys.executable, "-m", "scripts.document_settings", "--check"],
    "the table of what was tried is fresh": [sys.executable, "-m", "scripts.document_security", "--check"],
    "the page of heavy tests is fresh": [sys.executable, "-m", "scripts.document_heavy_tests", "--check"],
    "ruff, lint": ["ruff", "check", "."],
    "ruff, format": ["ruff", "format", "--check", "."],
    "mypy, strict": ["mypy"],
    "import contract": ["lint-imports"],
    "tests": [sys.executable, "-m", "pytest", *sys.argv[1:]],
}


def main() -> int:
    """Run each check; gives 0 where all passed."""
    failed = []
    for name, command in CHECKS.items():
        print(f"\n=== {name}", flush=True)
        started = time.monotonic()
        if subprocess.run(command, check=False).returncode != 0:
            failed.append(name)
        print(f"    {time.monotonic() - started:.0f} s", flush=True)
    if failed:
        print(f"\nFAILED: {', '.join(failed)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
