"""`make protos`: generate the wire's code. With --check, only say whether what is committed is fresh."""

import sys
import tempfile
from pathlib import Path

import google.rpc
import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).parent.parent
WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"
GOOGLE_APIS = Path(next(iter(google.rpc.__path__))).parent.parent
DESCRIBED = ("articles", "oip", "torchserve")
"""Folders of contracts that others have, too, so that none of their code registers itself by its names."""


def main() -> int:
    """Generate, or compare; gives the exit status."""
    checking = "--check" in sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) if checking else ROOT
        for proto in sorted((ROOT / "protos").glob("*.proto")):
            generate(proto, target)
        for folder_name in DESCRIBED:
            for proto in sorted((ROOT / "protos" / folder_name).glob("*.proto")):
                describe(proto, target)
        if not checking:
            return 0
        return report([path for path in Path(folder).rglob("*") if path.is_file()], Path(folder))


def generate(proto: Path, target: Path) -> None:
    """Run protoc from the root, so that what it makes imports `protos.x` as everything else does."""
    run_protoc(proto, *(f"--{kind}_out={target}" for kind in ("python", "pyi", "grpc_python")))


def describe(proto: Path, target: Path) -> None:
    """Write the descriptors alone, for a pool of their own."""
    path = (target / proto.relative_to(ROOT)).with_suffix(".binpb")
    path.parent.mkdir(parents=True, exist_ok=True)
    run_protoc(proto, f"--descriptor_set_out={path}")


def run_protoc(proto: Path, *outputs: str) -> None:
    """Compile one file."""
    if protoc.main(["protoc", f"-I{ROOT}", f"-I{WELL_KNOWN}", f"-I{GOOGLE_APIS}", *outputs, str(proto)]) != 0:
        sys.exit(f"protoc failed on {proto.name}")


def report(fresh: list[Path], folder: Path) -> int:
    """Name the committed files that differ from fresh ones."""
    stale = []
    for path in fresh:
        committed = ROOT / path.relative_to(folder)
        if not committed.exists() or committed.read_bytes() != path.read_bytes():
            stale.append(str(committed.relative_to(ROOT)))
    if stale:
        print(f"stale: {', '.join(sorted(stale))}. Run `make protos` and commit the result.")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
