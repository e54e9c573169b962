"""Schemathesis and a validator of OpenAPI documents, in a process and an environment of their own.

`python openapi_fuzzer.py URL PICTURE...` checks that there is an OpenAPI document at this URL, then makes
requests of all kinds that it describes, with these pictures where bytes are wanted, and checks that each
answer is one that it describes. It exits with 0 where all are.
"""

import base64
import json
import sys
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis.cli import schemathesis as command

CHECKS = (
    "no_fault",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
ARGUMENTS = (
    "--phases=examples,fuzzing",
    "--mode=positive",
    "--max-examples=12",
    "--seed=1",
    "--no-shrink",
    "--continue-on-failure",
    "--warnings=off",
    f"--checks={','.join(CHECKS)}",
    "--request-timeout=60",
)


def main(url: str, pictures: list[bytes]) -> None:
    """Check the document and the answers; raises SystemExit."""
    with urllib.request.urlopen(url, timeout=60) as response:  # noqa: S310 - of a test's gateway
        validate(json.load(response))
    files = st.sampled_from([*pictures, b"no picture"]) | st.binary(max_size=64)
    for media_type in ("application/octet-stream", "image/*"):
        schemathesis.openapi.media_type(media_type, files)
    schemathesis.openapi.format("binary", files)

    @schemathesis.hook  # type: ignore[untyped-decorator]
    def map_body(_context: Any, body: Any) -> Any:  # noqa: ANN401
        """Have pictures for most images in JSON, and do not have the model `echo` wait or fail."""
        if not isinstance(body, dict):
            return body
        if isinstance(text := body.get("image"), str) and len(text) % 4:
            body = body | {"image": base64.b64encode(pictures[len(text) % len(pictures)]).decode()}
        return {name: value for name, value in body.items() if name not in ("sleep_seconds", "fail")}

    @schemathesis.hook  # type: ignore[untyped-decorator]
    def map_headers(_context: Any, headers: Any) -> Any:  # noqa: ANN401
        """Name no time: most of those that are drawn are far too short."""
        return {name: value for name, value in (headers or {}).items() if name != "X-Request-Timeout"}

    @schemathesis.check  # type: ignore[untyped-decorator]
    def no_fault(_context: Any, response: Any, _case: Any) -> None:  # noqa: ANN401
        """503 and 504 may be what there is to say; this may not."""
        assert response.status_code != HTTPStatus.INTERNAL_SERVER_ERROR, response.text

    command(["run", url, *ARGUMENTS])


if __name__ == "__main__":
    main(sys.argv[1], [Path(name).read_bytes() for name in sys.argv[2:]])
