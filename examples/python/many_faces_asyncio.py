"""Count the faces in many pictures, over one gRPC stream: python many_faces_asyncio.py ADDRESS PICTURE...

Needs the client: the wheel facet-serving, or the folder of the checkout as PYTHONPATH. A picture is
a line, in the order in which they are done. Exits with 1 where one of them has failed.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from facet_serving import AsyncServiceClient, errors


async def read(paths: Iterable[str]) -> AsyncIterator[bytes]:
    """The files, each when its turn comes."""
    for path in paths:
        yield await asyncio.to_thread(Path(path).read_bytes)


async def main(address: str, *paths: str) -> int:
    """Print the lines; gives how many pictures have failed."""
    failed = 0
    # Sixteen pictures are under way at once. The timeout is that of each; within it the client itself tries
    # again where that may help, also where the stream's worker goes away.
    async with AsyncServiceClient(address, timeout=60) as client:
        async for number, outcome in client.detect_many(read(paths)):
            if isinstance(outcome, errors.FacetError):
                failed += 1
                print(f"{paths[number]}: {outcome.reason}: {outcome.detail}", file=sys.stderr)
            else:
                print(f"{paths[number]}: {len(outcome.faces)}")
    return failed


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(*sys.argv[1:])) > 0)
    except OSError as error:  # no such file
        sys.exit(str(error))
