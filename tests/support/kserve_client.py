"""The clients of the kserve package, in a process and an environment of its own, which never try again.

`python kserve_client.py PROTOCOL ADDRESS MODEL CA CERT KEY` has a model answer texts, by PROTOCOL grpc or
http: it reads each as a line of JSON from its standard input, and prints the model's text, or an error, as a
line of JSON. It shows the API key of FACET_API_KEY and, by gRPC, the certificate of the last three files.
"""

import asyncio
import json
import os
import sys
from typing import Any

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

TIMEOUT = 60.0
_GONE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
"""How gRPC tells that a server has left."""


def request(model: str, text: str) -> InferRequest:
    """A request of one text."""
    tensor = InferInput("text", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([text.encode()], dtype=object))
    return InferRequest(model, [tensor])


async def ask(client: Any, address: str, model: str, text: str) -> dict[str, Any]:  # noqa: ANN401
    """What the model says, or what is wrong."""
    infer, shown = request(model, text), {"authorization": f"Bearer {os.environ['FACET_API_KEY']}"}
    try:
        if isinstance(client, InferenceGRPCClient):
            answer = await client.infer(infer, timeout=TIMEOUT, headers=tuple(shown.items()))
        else:
            answer = await client.infer(
                f"http://{address}", infer, model_name=model, timeout=TIMEOUT, headers=shown
            )
    except (grpc.RpcError, httpx.HTTPError) as error:
        gone = isinstance(error, grpc.RpcError) and error.code() in _GONE
        return {"trouble": repr(error), "gone": gone}
    [said] = next(one.as_numpy() for one in answer.outputs if one.name == "text")
    return {"text": said.decode() if isinstance(said, bytes) else str(said)}


async def main() -> None:
    """Answer lines until there are no more."""
    protocol, address, model, ca, cert, key = sys.argv[1:]
    files = {"root_certificates": ca, "certificate_chain": cert, "private_key": key}
    client = (
        InferenceGRPCClient(address, retries=0, use_ssl=True, **files)
        if protocol == "grpc"
        else InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    )
    while line := await asyncio.to_thread(sys.stdin.readline):
        sys.stdout.write(json.dumps(await ask(client, address, model, json.loads(line))) + "\n")
        sys.stdout.flush()
    await client.close()


if __name__ == "__main__":
    asyncio.run(main())
