"""Write what in deploy/kubernetes follows from other files: the alerts as a PrometheusRule, rendered YAML.

Needs kubectl of RELEASE or later, whose kustomize renders.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "deploy" / "kubernetes"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
RULES = FOLDER / "overlays" / "autoscaling" / "rules.yaml"
RENDERED = {
    name: FOLDER / folder
    for name, folder in {
        "base": "base",
        "complete": "overlays/complete",
        "autoscaling": "overlays/autoscaling",
    }.items()
}
"""The folders that are rendered, by the names of their files in deploy/kubernetes/rendered, without .yaml."""
RELEASE = (1, 30)
"""Of kubectl: those before bring a kustomize that renders otherwise."""
NEEDED = f"kubectl {'.'.join(map(str, RELEASE))} or later"

_SECONDS = 60
_RULES_HEAD = """# Written by `make manifests` from deploy/prometheus/alerts.yml.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: facet
spec:
"""


class NoKubectl(Exception):
    """There is none, or it is too old; the message says what is needed."""


def rules() -> str:
    """The PrometheusRule with the groups of alerts.yml."""
    text = ALERTS.read_text()
    groups = text[text.index("groups:") :]
    return _RULES_HEAD + "".join(f"  {line}" if line.strip() else line for line in groups.splitlines(True))


def kubectl() -> str:
    """The path of a kubectl that renders.

    Raises:
        NoKubectl: There is none.
    """
    path = shutil.which("kubectl")
    if path is None:
        raise NoKubectl(f"{NEEDED} is not installed")
    command = [path, "version", "--client", "--output", "json"]
    told = subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS).stdout
    version = json.loads(told)["clientVersion"]
    # The minor version of some builds is such as "32+".
    if (int(version["major"]), int(version["minor"].rstrip("+"))) < RELEASE:
        raise NoKubectl(f"{NEEDED} is not installed, but {version['gitVersion']}")
    return path


def render(folder: Path) -> str:
    """The YAML of a folder with a kustomization.

    Raises:
        NoKubectl: There is none that renders.
        subprocess.CalledProcessError: The folder cannot be rendered; `stderr` says why.
    """
    command = [kubectl(), "kustomize", str(folder)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS).stdout


def rendered_file(name: str) -> Path:
    """Where the YAML of one of RENDERED is."""
    return FOLDER / "rendered" / f"{name}.yaml"


def main() -> int:
    """Write all; gives the exit status."""
    RULES.write_text(rules())
    try:
        for name, folder in RENDERED.items():
            rendered_file(name).write_text(render(folder))
    except NoKubectl as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except subprocess.CalledProcessError as error:
        sys.stderr.write(error.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
