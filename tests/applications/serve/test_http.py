"""Who may ask, how much they may send, and what a browser may do with the answer."""

import httpx
import pytest
from fastapi import FastAPI, Request

from captionlab.applications.serve.http import Protection, own_hosts, secure
from captionlab.core.errors import UserError
from serve_support import application, client_of, files_of, serving

TOKEN = "t" * 20


def guarded(**protection: object) -> FastAPI:
    app = FastAPI()

    @app.api_route("/read", methods=["GET", "POST"])
    async def read(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.get("/wrong/{kind}")
    async def wrong(kind: str, number: int = 0) -> None:
        raise UserError("a \ud800 is wrong") if kind == "user" else RuntimeError("secret")

    return secure(app, Protection(**protection))


@pytest.fixture(scope="module")
def served():
    with client_of(application()) as client:
        yield client


def test_only_who_has_the_token_is_let_in():
    with client_of(application(token=TOKEN)) as client:
        for path in ("/", "/page/page.js", "/health", "/ready"):
            assert client.get(path).status_code == 200, path
        for path in ("/v1/models", "/metrics", "/openapi.json", "/page", "/nothing"):
            for given in ("", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN):
                answer = client.get(path, headers={"Authorization": given})
                assert answer.status_code == 401, (path, given)
                assert answer.headers["WWW-Authenticate"] == "Bearer"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert client.get("/v1/models", headers=headers).status_code == 200
        assert (
            client.get("/v1/models", headers={"Authorization": b"Bearer \xe9"}).status_code == 401
        )


def test_pages_of_other_names_and_other_origins_reach_nothing():
    with client_of(guarded(hosts=own_hosts("127.0.0.1"))) as client:
        for host in ("127.0.0.1:8000", "localhost", "LOCALHOST:80", "[::1]:8000"):
            assert client.get("/read", headers={"Host": host}).status_code == 200, host
        for host in ("evil.example", "127.0.0.1.evil.example:8000", ""):
            assert client.get("/read", headers={"Host": host}).status_code == 400, host
        for origin, status in (
            ("http://127.0.0.1", 200),
            ("http://localhost:3000", 200),
            ("https://evil.example", 403),
            ("null", 403),
            ("http://[", 403),
            ("http://[x]", 403),
        ):
            assert client.post("/read", headers={"Origin": origin}).status_code == status, origin


def test_hosts_that_are_named_are_its_own():
    assert own_hosts("0.0.0.0") is None
    assert own_hosts("0.0.0.0", ["Caption.example"]) == {"caption.example"}
    assert {"localhost", "caption.example"} <= own_hosts("127.0.0.1", ["caption.example"])
    assert "[::1]" in own_hosts("::1")


def test_a_body_is_counted_while_it_comes_in():
    with client_of(guarded(max_body=1000)) as client:
        assert client.post("/read", content=b"x" * 1000).json() == {"bytes": 1000}
        for content in (b"x" * 1001, iter([b"x" * 600] * 2), iter([b"x" * 100] * 50)):
            answer = client.post("/read", content=content)
            assert answer.status_code == 413
            assert answer.json()["error"]["type"] == "invalid_request_error"
            assert answer.headers["Connection"] == "close"


def test_only_where_pictures_come_a_body_is_large(served):
    with client_of(guarded(max_body=1000, bodies={"/read": 2000})) as client:
        assert client.post("/read", content=b"x" * 2000).json() == {"bytes": 2000}
        assert client.post("/wrong/user", content=b"x" * 1001).status_code == 413
    # small values take many times their bytes once they are parsed
    many = b'{"text": [' + b"[]," * 50_000 + b"[]]}"
    headers = {"Content-Type": "application/json"}
    assert served.post("/v1/speech", content=many, headers=headers).status_code == 413
    assert served.post("/v1/caption", content=many, headers=headers).status_code == 400


def test_who_sends_too_much_hears_why():
    with serving(application(max_bytes=100_000)) as url:
        for content in (b"x" * 20_000_000, iter([b"x" * 100_000] * 100)):
            answer = httpx.post(
                f"{url}/v1/caption", content=content, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code == 413


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/nothing", 404, "Not Found"),
        ("/wrong/user", 400, "a \\ud800 is wrong"),
        ("/wrong/program", 500, "the server made a mistake; its log says which"),
        (
            "/wrong/user?number=x",
            400,
            "number: Input should be a valid integer, unable to parse string",
        ),
    ],
)
def test_errors_have_one_form(path, status, message):
    with client_of(guarded()) as client:
        answer = client.get(path)
        assert answer.status_code == status
        assert answer.json()["error"]["message"].startswith(message)


def test_every_answer_keeps_a_browser_from_running_what_it_holds():
    with client_of(application(token=TOKEN)) as client:
        for path in ("/", "/page/page.js", "/health", "/v1/models", "/nothing"):
            headers = client.get(path).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            policy = headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy
            assert "unsafe-inline" not in policy
            assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    "path",
    [
        *("/page/..%2fapp.py", "/page/%2e%2e/app.py", "/page//etc/passwd", "/page/app.py"),
        *("/page/index.html%00", "/etc/passwd", "/page/../app.py"),
    ],
)
def test_no_path_leads_to_a_file(served, path):
    assert served.get(path).status_code == 404


def test_pages_of_another_origin_get_no_permission(served):
    origin = {"Origin": "https://evil.example"}
    answer = served.options(
        "/v1/caption", headers=origin | {"Access-Control-Request-Method": "POST"}
    )
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert served.post("/v1/caption", files=files_of(), headers=origin).status_code == 403
