"""How images of tasks are fetched: by real HTTP, from small servers on loopback."""

from __future__ import annotations

import anyio
import pytest

from lseg_serve.annotation.errors import AnnotationError
from lseg_serve.annotation.label_studio.addresses import Addresses
from lseg_serve.annotation.label_studio.images import Images
from lseg_serve.annotation.label_studio.settings import Settings
from lseg_serve.annotation.label_studio.tokens import Tokens
from tests.support.scripted import Scripted, ScriptedServer, serving

TOKEN = "0123456789abcdef-owner"
UPLOAD = "/data/upload/1/a.jpg"
PERSONAL = "aa.bb.cc"


def _fetch(studio: ScriptedServer, image: str, api_key: str | None = None, **settings: object) -> bytes:
    """Fetched for project 1, whose owner's token is known."""
    chosen = Settings(studio.url, **settings)  # type: ignore[arg-type]
    tokens = Tokens(studio.url, api_key)
    tokens.learn("1.5", TOKEN)
    images = Images(chosen, Addresses(chosen, _loopback), tokens)
    return anyio.run(images.fetch, image, 7, "1.5")


def _loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def _moved(url: str, status: int = 302) -> Scripted:
    return Scripted(status, headers={"Location": url})


def test_an_upload_is_fetched_with_the_owners_token() -> None:
    with serving(Scripted(200, b"image")) as studio:
        assert _fetch(studio, UPLOAD) == b"image"
    (request,) = studio.asked
    assert (request.path, request.headers["authorization"]) == (UPLOAD, f"Token {TOKEN}")


def test_a_token_goes_nowhere_but_to_label_studio() -> None:
    """Not to a host that is allowed, not to one that Label Studio redirects to; the other way it comes along."""
    with serving() as cloud, serving() as studio:
        allowed = frozenset({cloud.url.removeprefix("http://")})
        cloud.replies = [Scripted(200, b"one"), Scripted(200, b"two"), _moved(f"{studio.url}{UPLOAD}")]
        studio.replies = [_moved(f"{cloud.url}/signed?key=1"), Scripted(200, b"three")]
        assert _fetch(studio, f"{cloud.url}/a.jpg", private_hosts=allowed) == b"one"
        assert _fetch(studio, "s3://bucket/a.jpg", private_hosts=allowed) == b"two"
        assert _fetch(studio, f"{cloud.url}/b.jpg", private_hosts=allowed) == b"three"
    assert [one.path for one in cloud.asked] == ["/a.jpg", "/signed?key=1", "/b.jpg"]
    assert all("authorization" not in one.headers for one in cloud.asked)
    assert [one.headers.get("authorization") for one in studio.asked] == [f"Token {TOKEN}"] * 2


def test_a_host_is_connected_to_at_the_address_that_was_checked_and_told_its_name() -> None:
    with serving(Scripted(200, b"image")) as cloud, serving() as studio:
        port = cloud.url.rpartition(":")[2]
        allowed = frozenset({f"images.test:{port}"})  # a name that no system's resolver knows
        assert _fetch(studio, f"http://images.test:{port}/a.jpg?b=c", private_hosts=allowed) == b"image"
    (request,) = cloud.asked
    assert (request.path, request.headers["host"]) == ("/a.jpg?b=c", f"images.test:{port}")


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("http://127.0.0.1:1/private", "links to the host '127.0.0.1', port 1, are not allowed"),
        ("http://169.254.169.254/latest", "links to the host '169.254.169.254'"),
        ("/api/current-user/token", "is none of Label Studio's files"),
        ("file:///etc/passwd", "is refused"),
        ("/user/login/?next=/data", "legacy tokens"),
        # httpx2 below 2.16 refuses it by itself.
        ("http://x:port/", "redirects to what is no address|Invalid URL in location header"),
    ],
)
def test_a_redirect_is_checked_as_a_link_is(location: str, message: str) -> None:
    with serving(_moved(location)) as studio, pytest.raises(AnnotationError) as caught:
        _fetch(studio, UPLOAD)
    assert any(words in str(caught.value) for words in message.split("|"))
    assert len(studio.asked) == 1


def test_redirects_end() -> None:
    with serving(*[_moved(UPLOAD)] * 4) as studio, pytest.raises(AnnotationError, match="more than 3 redirects"):
        _fetch(studio, UPLOAD)
    assert len(studio.asked) == 4


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Scripted(404), r"the image '/data/upload/1/a.jpg' cannot be fetched: 127.0.0.1:\d+ answers 404"),
        (Scripted(401), "does not hand out this image without a token that it accepts"),
        (Scripted(403), "does not hand out this image without a token that it accepts"),
        (Scripted(200, b"x" * 1001), "more than 1000 bytes, which is the limit"),
        (Scripted(200, b"x", missing=5), r"cannot be fetched from 127.0.0.1:\d+: "),
        (Scripted(200, b"late", seconds=2), "did not come within 0.5 s from 127.0.0.1"),
        (Scripted(200, b"drips", seconds=0.2, pieces=5), "did not come within 0.5 s"),
    ],
)
def test_what_goes_wrong_is_said_in_words_without_the_token(reply: Scripted, message: str) -> None:
    with serving(reply) as studio, pytest.raises(AnnotationError, match=message) as caught:
        _fetch(studio, UPLOAD, max_image_bytes=1000, image_seconds=0.5)
    assert TOKEN not in str(caught.value)


def test_a_server_that_is_not_there_is_said_in_words() -> None:
    gone = ScriptedServer([], "http://127.0.0.1:1")
    with pytest.raises(AnnotationError, match=r"cannot be fetched from 127\.0\.0\.1:1"):
        _fetch(gone, UPLOAD)


def test_a_personal_token_is_exchanged_once() -> None:
    with serving(Scripted(200, b'{"access": "dd.ee.ff"}'), Scripted(200, b"image")) as studio:
        assert _fetch(studio, UPLOAD, api_key=PERSONAL) == b"image"
    exchange, request = studio.asked
    assert (exchange.method, exchange.path, exchange.body) == (
        "POST", "/api/token/refresh/", b'{"refresh":"aa.bb.cc"}'
    )  # fmt: skip
    assert request.headers["authorization"] == "Bearer dd.ee.ff"


@pytest.mark.parametrize("reply", [Scripted(401, b"{}"), Scripted(200, b"[]"), Scripted(200, b"no JSON")])
def test_a_personal_token_that_is_refused_is_said_in_words(reply: Scripted) -> None:
    with serving(reply) as studio, pytest.raises(AnnotationError, match="token") as caught:
        _fetch(studio, UPLOAD, api_key=PERSONAL)
    assert PERSONAL not in str(caught.value)
