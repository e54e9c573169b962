"""Rules of CORS: which web pages of other origins may read the gateway's answers."""

import pytest
from flask.testing import FlaskClient

from tests.support.gateway_fakes import FakeBackend, app_for
from utils import errors
from utils.settings import InvalidSetting, Settings

PAGE = "https://page.example"
ALLOW, EXPOSE = "Access-Control-Allow-Origin", "Access-Control-Expose-Headers"
PICTURE = {"data": b"picture", "content_type": "image/jpeg"}


def client_for(origins: str, backend: FakeBackend | None = None) -> FlaskClient:
    """The gateway with this setting."""
    return app_for(backend or FakeBackend(), FACET_ALLOWED_ORIGINS=origins).test_client()


@pytest.mark.security(
    endpoint="gateway",
    attack="A web page of another origin that reads answers",
    outcome="No CORS fields unless `FACET_ALLOWED_ORIGINS` is set, so a browser does not let it",
)
def test_unless_it_is_set_no_page_is_allowed(client: FlaskClient) -> None:
    """Neither answers nor what browsers ask before say anything of origins."""
    preflight = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    for response in (
        client.post("/predict", headers={"Origin": PAGE}, **PICTURE),
        client.options("/predict", headers=preflight),
    ):
        assert response.status_code == 200
        assert not [name for name, _ in response.headers if name.startswith("Access-Control")]
        assert "Vary" not in response.headers


def test_pages_of_the_origins_that_are_named_may_read_answers() -> None:
    """And what the header fields of them say, but for cookies; caches tell the origins apart."""
    client = client_for(f"http://localhost:3000, {PAGE}")
    response = client.post("/predict", headers={"Origin": PAGE}, **PICTURE)
    assert response.status_code == 200
    assert response.headers[ALLOW] == PAGE
    assert response.headers["Vary"] == "Origin"
    assert {name.strip() for name in response.headers[EXPOSE].split(",")} == {
        "RateLimit",
        "RateLimit-Policy",
        "Retry-After",
        "X-Request-ID",
        "X-Facet-Faces",
        "X-Model",
    }
    assert "Access-Control-Allow-Credentials" not in response.headers


@pytest.mark.security(
    endpoint="gateway",
    attack="A web page whose origin is not among those allowed",
    outcome="No CORS fields, and `Vary: Origin` for caches",
)
@pytest.mark.parametrize("origin", ["https://page.example.org", "http://page.example", "null", "", None])
def test_other_pages_may_not(origin: str | None) -> None:
    """Nor are they told who may; but caches must know that it depends on who asks."""
    headers = {} if origin is None else {"Origin": origin}
    response = client_for(PAGE).post("/predict", headers=headers, **PICTURE)
    assert ALLOW not in response.headers
    assert response.headers["Vary"] == "Origin"


def test_a_star_allows_all() -> None:
    """Whatever they are called, so the answer is the same for each."""
    response = client_for("*").get("/healthz", headers={"Origin": PAGE})
    assert response.headers[ALLOW] == "*"
    assert "Vary" not in response.headers


def test_a_page_may_read_why_it_got_no_answer() -> None:
    """Errors say the same, and so does a path that there is not."""
    client = client_for(PAGE, FakeBackend(errors.QueueFull("Full.", retry_after=1.0)))
    full = client.post("/predict", headers={"Origin": PAGE}, **PICTURE)
    nowhere = client.get("/nowhere", headers={"Origin": PAGE})
    assert (full.status_code, nowhere.status_code) == (429, 404)
    for response in (full, nowhere):
        assert response.headers[ALLOW] == PAGE
        assert "Retry-After" in response.headers[EXPOSE]


def test_a_browser_may_send_what_a_request_may_have() -> None:
    """It asks before, by OPTIONS; the methods are those of the path."""
    headers = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-request-timeout",
    }
    response = client_for(PAGE).options("/predict", headers=headers)
    assert (response.status_code, response.headers[ALLOW]) == (200, PAGE)
    assert set(response.headers["Access-Control-Allow-Methods"].split(", ")) == {"OPTIONS", "POST"}
    assert {name.strip() for name in response.headers["Access-Control-Allow-Headers"].split(",")} == {
        "Authorization",
        "Content-Type",
        "X-Request-ID",
        "X-Request-Timeout",
    }
    assert response.headers["Access-Control-Max-Age"] == "600"
    plain = client_for(PAGE).options("/predict", headers={"Origin": PAGE})
    assert "Access-Control-Allow-Methods" not in plain.headers


def test_an_answer_for_any_coding_stays_one() -> None:
    """The two things on which it depends are both named."""
    response = client_for(PAGE).get("/openapi.json", headers={"Origin": PAGE})
    assert set(response.headers["Vary"].split(", ")) == {"Accept-Encoding", "Origin"}


@pytest.mark.parametrize(
    "text",
    ["page.example", "https://page.example/", "https://Page.example", "https://page.example:443", "*,a"],
)
def test_what_no_browser_sends_is_no_origin(text: str) -> None:
    """It would allow nobody, and nobody would know why."""
    with pytest.raises(InvalidSetting, match="FACET_ALLOWED_ORIGINS"):
        Settings.from_environ({"FACET_ALLOWED_ORIGINS": text})


@pytest.mark.parametrize(
    "text", ["http://127.0.0.1:3000", "http://[::1]:8000", "https://a.b", "capacitor://localhost"]
)
def test_origins_are_as_browsers_send_them(text: str) -> None:
    """With the port, where it is not the scheme's own."""
    assert Settings.from_environ({"FACET_ALLOWED_ORIGINS": text}).allowed_origins == (text,)
