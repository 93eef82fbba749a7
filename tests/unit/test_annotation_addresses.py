"""Which addresses a task may make the backend fetch."""

from __future__ import annotations

import base64

import httpx2
import pytest

from lseg_serve.annotation.errors import AnnotationError
from lseg_serve.annotation.label_studio.addresses import Addresses, is_global
from lseg_serve.annotation.label_studio.settings import Settings, origin_of

STUDIO = "http://studio.test:8200"
KNOWN = {
    "studio.test": ["10.0.0.5"],
    "images.example": ["93.184.216.34", "2606:2800:220:1::1"],
    "a.cdn.example": ["93.184.216.35"],
    "cdn.example": ["93.184.216.35"],
    "rebound.example": ["93.184.216.34", "127.0.0.1"],
    "mapped.example": ["::ffff:10.0.0.1"],
    "minio.lan": ["192.168.1.4"],
}
SETTINGS = Settings(
    STUDIO,
    public_hosts=frozenset(
        {"images.example", "*.cdn.example", "rebound.example", "mapped.example", "127.0.0.1", "other.example:8000"}
    ),
    private_hosts=frozenset({"minio.lan:9000"}),
)
asked: list[str] = []


def _resolve(host: str, port: int) -> list[str]:
    asked.append(host)
    if host.replace(".", "").isdigit():
        return [host]
    if host not in KNOWN:
        raise OSError("no such host")
    return KNOWN[host]


RULES = Addresses(SETTINGS, _resolve)


def _place(image: object, alias: str | None = None) -> tuple[str, bool, str]:
    place = RULES.place_of(RULES.url_of(image, 7, alias))
    return str(place.url), place.is_label_studio, place.address


@pytest.mark.parametrize(
    "path",
    [
        "/data/upload/1/0a1b2c3d-x.jpg",
        "/data/local-files/?d=photos/a.jpg",
        "/data/local-files?d=photos/a.jpg",
        "/storage-data/uploaded/?filepath=upload/1/a.jpg",
        "/tasks/7/resolve/?fileuri=czM6Ly9i",
    ],
)
def test_files_of_label_studio_are_fetched_there(path: str) -> None:
    for image in (path, f"{STUDIO}{path}", f"HTTP://STUDIO.TEST:8200{path}"):
        assert _place(image) == (f"{STUDIO}{path}", True, "10.0.0.5")
    # Label Studio may know itself by another address: only the path of such a link counts.
    assert _place(f"http://localhost:8080{path}", "http://localhost:8080") == (f"{STUDIO}{path}", True, "10.0.0.5")


@pytest.mark.parametrize("uri", ["s3://bucket/a b.jpg", "gs://bucket/a.jpg", "azure-blob://container/ä.jpg"])
def test_files_of_a_cloud_are_signed_by_label_studio(uri: str) -> None:
    url, is_label_studio, _ = _place(uri)
    assert is_label_studio
    parts = httpx2.URL(url)
    assert parts.path == "/tasks/7/presign/"
    assert base64.urlsafe_b64decode(parts.params["fileuri"]).decode() == uri
    with pytest.raises(AnnotationError, match=r"the task's number is '7/\.\./8'"):
        RULES.url_of(uri, "7/../8")


def test_hosts_that_the_operator_named_are_fetched() -> None:
    assert _place("https://images.example/a.jpg") == ("https://images.example/a.jpg", False, "93.184.216.34")
    assert _place("http://a.cdn.example/a.jpg?sig=1")[2] == "93.184.216.35"
    assert _place("http://minio.lan:9000/a.jpg") == ("http://minio.lan:9000/a.jpg", False, "192.168.1.4")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("/api/current-user/token", "is none of Label Studio's files"),
        ("/data/upload/../../api/users", "is none of Label Studio's files"),
        ("/data/upload/%2e%2e/%2e%2e/api/users", "is none of Label Studio's files"),
        ("/data/upload/..%2f..%2fapi/users", "is none of Label Studio's files"),
        ("/data/upload/\\..\\api", "is none of Label Studio's files"),
        ("/tasks/7/annotations/", "is none of Label Studio's files"),
        (f"{STUDIO}/api/users", "is none of Label Studio's files"),
        ("a.jpg", "is none of Label Studio's files"),
        ("http://studio.test/data/upload/1/a.jpg", "links to the host 'studio.test', port 80, are not allowed"),
        ("https://studio.test:8200/data/upload/1/a.jpg", "'studio.test', port 8200, are not allowed"),
        ("http://studio.test:8200@evil.example/data/upload/1", "is refused"),
        ("//evil.example/data/upload/1/a.jpg", "links to the host 'evil.example', port 80, are not allowed"),
        ("http://evil.example/a.jpg?token=secret", "links to the host 'evil.example'"),
        ("http://169.254.169.254/latest/meta-data", "links to the host '169.254.169.254'"),
        ("http://2130706433/", "links to the host '2130706433'"),
        ("http://[::1]:8080/", "links to the host '::1', port 8080"),
        ("http://127.0.0.1/a.jpg", "leads to a private or reserved address"),
        ("http://rebound.example/a.jpg", "leads to a private or reserved address"),
        ("http://mapped.example/a.jpg", "leads to a private or reserved address"),
        ("http://images.example:8080/a.jpg", "'images.example', port 8080, are not allowed"),
        ("http://other.example/a.jpg", "'other.example', port 80, are not allowed"),
        ("http://cdn.example/a.jpg", "'cdn.example', port 80, are not allowed"),
        ("http://evilcdn.example/a.jpg", "'evilcdn.example', port 80, are not allowed"),
        ("http://minio.lan/a.jpg", "'minio.lan', port 80, are not allowed"),
        ("http://gone.cdn.example/a.jpg", "the host 'gone.cdn.example' cannot be found"),
        ("file:///etc/passwd", "is refused; accepted: a file that was uploaded"),
        ("ftp://images.example/a.jpg", "is refused"),
        ("gopher://images.example/", "is refused"),
        ("data:image/png;base64,AAAA", "is refused"),
        ("http://images.example:port/", "is no address"),
        ("http://[/", "are not allowed"),
        ("", "the task's image is ''"),
        (None, "the task's image is None"),
        (["/data/upload/1/a.jpg"], "the task's image is ['/data"),
    ],
)
def test_everything_else_is_refused_in_words(image: object, message: str) -> None:
    with pytest.raises(AnnotationError) as caught:
        _place(image, "http://localhost:8080")
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_foreign_host_is_not_even_looked_up() -> None:
    asked.clear()
    with pytest.raises(AnnotationError):
        _place("http://evil.example/a.jpg")
    assert asked == []


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("nonsense", False),
    ],
)
def test_addresses_of_the_internet_are_told_from_all_others(address: str, expected: bool) -> None:
    assert is_global(address) is expected


@pytest.mark.parametrize(
    "url", ["studio.test", "ftp://studio.test", "http://studio.test/ls", "http://a@b", "http://b?c", "http://x:y"]
)
def test_label_studio_has_a_plain_address(url: str) -> None:
    with pytest.raises(ValueError, match="accepted: http://HOST:PORT"):
        origin_of(url)
