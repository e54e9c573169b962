"""Requests that two servers could read differently, behind a real nginx: both read them alike."""

from pathlib import Path

import pytest

from tests.support import gateway_process
from tests.support.balancers import NGINX, Machines, balancer
from tests.support.fake_backend import fake_backend
from tests.support.framing import assert_read_alike


@pytest.mark.security(
    endpoint="nginx",
    attack=(
        "The requests that two servers could read differently, through nginx, with ordinary ones between them"
    ),
    outcome=(
        "nginx has passed on as many requests as the gateway has served and clients got answers; a "
        "request in a body is served only where nginx, too, takes it for one"
    ),
)
@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/nowhere"])
def test_the_gateway_serves_as_many_requests_as_nginx_has_passed_on(tmp_path: Path, path: str) -> None:
    """None of what nginx took for a body is a request to the gateway, nor the other way round."""
    with (
        fake_backend() as serving,
        gateway_process.gateway(serving.target) as gateway,
        balancer(NGINX, tmp_path, Machines([gateway.where], [serving.target])) as nginx,
    ):
        assert_read_alike(gateway, nginx.http, nginx.passed_on, path)
