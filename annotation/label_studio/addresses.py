"""Where the image of a task is, and which addresses may be asked for it.

A task is written by whoever may import tasks. So nothing is fetched but from Label Studio itself, below the paths of
its files, and from hosts that the operator has named.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import unquote

import httpx2

from lseg_serve.annotation.errors import AnnotationError
from lseg_serve.annotation.label_studio.settings import Settings, origin_of

# The addresses of a host and port, as texts.
Resolve: TypeAlias = Callable[[str, int], Iterable[str]]

_CLOUD: Final = ("s3", "gs", "azure-blob", "azure_spi", "databricks")
_PORTS: Final = {"http": 80, "https": 443}
_FILES: Final = re.compile(
    r"/(?:data/upload/.|data/local-files/?$|storage-data/uploaded/?$|tasks/[0-9]+/(?:presign|resolve)/?$)"
)
_ACCEPTED: Final = (
    "accepted: a file that was uploaded to Label Studio, one of its storages, or a link to a host that the backend's "
    "operator has allowed"
)
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class Place:
    """An address that may be fetched."""

    url: httpx2.URL
    is_label_studio: bool  # so that the token may go there
    address: str  # of the host: what is connected to, so that the name need not be resolved again


def resolved(host: str, port: int) -> list[str]:
    """The addresses of `host` by the system.

    Raises:
        OSError: it has none.
    """
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Addresses:
    """The rules, for one Label Studio."""

    def __init__(self, settings: Settings, resolve: Resolve = resolved) -> None:
        """Make the rules; `resolve` may block."""
        self._origin = origin_of(settings.label_studio)
        self._base = httpx2.URL(settings.label_studio)
        self._public = settings.public_hosts
        self._private = settings.private_hosts
        self._resolve = resolve

    def url_of(self, image: object, task: object, alias: str | None = None) -> httpx2.URL:
        """The address of a task's image; whether it may be fetched is not said yet.

        Args:
            image: the value of the task's field: a path at Label Studio, a link, or the URI of a cloud storage.
            task: the task's number, by which Label Studio signs links to cloud storages.
            alias: another address under which Label Studio knows itself; links to it are taken as paths.

        Raises:
            AnnotationError: it is no address.
        """
        if not isinstance(image, str) or not image:
            raise AnnotationError(f"the task's image is {_shown(image)}; {_ACCEPTED}")
        scheme = image.partition("://")[0].lower() if "://" in image else ""
        if scheme in _CLOUD:
            uri = base64.urlsafe_b64encode(image.encode()).decode("ascii")
            return self._base.copy_with(path=f"/tasks/{_number(task)}/presign/", params={"fileuri": uri})
        try:
            url = self._base.join(image)
            if alias and _origin(url) == origin_of(alias):
                return self._base.copy_with(raw_path=url.raw_path)
        except (httpx2.InvalidURL, ValueError, UnicodeError) as error:
            raise AnnotationError(f"the task's image {_shown(image)} is no address; {_ACCEPTED}") from error
        return url

    def place_of(self, url: httpx2.URL) -> Place:
        """Where `url` leads, if it may be fetched. Resolves names, so it may block.

        Raises:
            AnnotationError: it may not: another scheme, a host that is not allowed, a name that leads to an address of
                a private network, a path of Label Studio that is none of its files, or a name without an address.
        """
        if url.scheme not in _PORTS or not url.host or url.userinfo:
            raise AnnotationError(f"the link {_shown(str(url))} is refused; {_ACCEPTED}")
        scheme, host, port = _origin(url)
        if (scheme, host, port) == self._origin:
            if not _is_file(url):
                raise AnnotationError(f"the path {_shown(url.path)} is none of Label Studio's files; {_ACCEPTED}")
            return Place(url, True, self._found(host, port)[0])
        private = f"{host}:{port}" in self._private
        if not private and not self._is_public(host, port, scheme):
            raise AnnotationError(f"links to the host {_shown(host)}, port {port}, are not allowed; {_ACCEPTED}")
        addresses = self._found(host, port)
        if not private and not all(map(is_global, addresses)):
            raise AnnotationError(f"the host {host!r} leads to a private or reserved address, which is refused")
        return Place(url, False, addresses[0])

    def _is_public(self, host: str, port: int, scheme: str) -> bool:
        for pattern in self._public:
            name, _, stated = pattern.partition(":")
            fits = host.endswith(name[1:]) if name.startswith("*.") else host == name
            if fits and port == (int(stated) if stated else _PORTS[scheme]):
                return True
        return False

    def _found(self, host: str, port: int) -> list[str]:
        try:
            found = list(self._resolve(host, port))
        except (OSError, UnicodeError):
            found = []
        if not found:
            raise AnnotationError(f"the host {host!r} cannot be found")
        return found


def is_global(address: str) -> bool:
    """Whether an IP address is one of the internet, and hides none that is not."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        hidden = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            hidden = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if hidden is not None and not is_global(str(hidden)):
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def _origin(url: httpx2.URL) -> tuple[str, str, int]:
    port = url.port or _PORTS.get(url.scheme, 0)
    return url.scheme, url.raw_host.decode("ascii").lower().rstrip("."), port


def _is_file(url: httpx2.URL) -> bool:
    path = unquote(url.raw_path.partition(b"?")[0].decode("ascii"))
    steps = path.split("/")
    return _FILES.match(path) is not None and ".." not in steps and "." not in steps and "\\" not in path


def _number(task: object) -> int:
    if isinstance(task, bool) or not isinstance(task, int) or task < 0:
        raise AnnotationError(f"the task's number is {_shown(task)}; accepted: a whole number")
    return task


def _shown(value: object) -> str:
    """`value` for a message: without the query, which may hold a signature, and not longer than can be read."""
    text = value.partition("?")[0] if isinstance(value, str) else value
    return repr(text)[:120]
