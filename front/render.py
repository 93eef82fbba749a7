"""nginx's configuration, from the template beside this file and the settings of one place."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

TEMPLATE: Final = Path(__file__).parent / "nginx.conf.template"
# The options of a request that may come as headers, by the names of the request's fields. The image is the body.
HEADER_FIELDS: Final = (
    "labels", "template", "format", "mode", "threshold", "alpha", "geometry", "tolerance", "parts", "bands", "range",
    "container", "points", "dtype", "preset", "scales", "flip", "base_size", "crop_size",
)  # fmt: skip

# Of a kind of value: its name, what it looks like, and that in words. What could end a directive of nginx is in none.
_ADDRESS: Final = ("HOST:PORT", re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}"), "HOST:PORT")
_NUMBER: Final = ("NUMBER", re.compile(r"[1-9][0-9]{0,8}"), "a whole number from 1 to 999999999")
# nginx counts what goes on at a time in 16 bits.
_COUNT: Final = (
    "NUMBER",
    re.compile(r"[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"),
    "a whole number from 1 to 65535",
)
_PATH: Final = ("PATH", re.compile(r"/[A-Za-z0-9._/+@:=-]*"), "an absolute path of letters, digits and ._/+@:=-")
_SWITCH: Final = ("on|off", re.compile("on|off"), "on, off")
_WORKERS: Final = ("NUMBER|auto", re.compile(r"auto|[1-9][0-9]{0,2}"), "auto, or a number from 1 to 999")
_USER: Final = ("USER", re.compile(r"[a-z_][a-z0-9_-]{0,31}"), "the name of a user")


class SettingError(ValueError):
    """A setting is not accepted. The message names it, its value and what is accepted."""


@dataclass(frozen=True)
class FrontSettings:
    """What the configuration depends on. Sizes are bytes."""

    folder: str
    certificate: str = ""
    certificate_key: str = ""
    tls: str = "on"
    listen: str = "127.0.0.1:8443"
    server: str = "127.0.0.1:8080"
    checker: str = "127.0.0.1:8070"
    max_body: str = "50000000"
    rate: str = "20"
    burst: str = "40"
    requests: str = "8"
    server_requests: str = "40"
    address_rate: str = "100"
    address_burst: str = "200"
    address_requests: str = "64"
    slow_seconds: str = "10"
    answer_seconds: str = "620"
    workers: str = "auto"
    user: str = "www-data"
    access_log: str = "/dev/stdout"
    error_log: str = "/dev/stderr"

    def __post_init__(self) -> None:
        files = ("certificate", "certificate_key")
        given = [name for name in files if getattr(self, name)]
        if self.tls == "on" and len(given) < len(files):
            missing = next(name for name in files if name not in given)
            raise SettingError(f"{missing} is missing; accepted: a PEM file, or tls off behind a gateway that ends TLS")
        if self.tls == "off" and given:
            raise SettingError(f"{given[0]} is given, and tls is off; accepted: one of them")
        for one in fields(self):
            value = getattr(self, one.name)
            _, pattern, accepted = KINDS[one.name]
            if value == one.default == "":
                continue
            if not pattern.fullmatch(value):
                raise SettingError(f"{one.name} is {value!r}; accepted: {accepted}")


KINDS: Final = {
    **dict.fromkeys(("listen", "server", "checker"), _ADDRESS),
    **dict.fromkeys(("certificate", "certificate_key", "folder", "access_log", "error_log"), _PATH),
    **dict.fromkeys(("max_body", "rate", "burst", "address_rate", "address_burst"), _NUMBER),
    **dict.fromkeys(("requests", "server_requests", "address_requests"), _COUNT),
    **dict.fromkeys(("slow_seconds", "answer_seconds"), _NUMBER),
    "tls": _SWITCH,
    "workers": _WORKERS,
    "user": _USER,
}
# What each is, for the command line and docs/front.md.
MEANINGS: Final = {
    "folder": "for what nginx writes: bodies, answers, its process id",
    "certificate": "certificate and chain, a PEM file",
    "certificate_key": "its private key, a PEM file",
    "tls": "off where a gateway before this ends TLS, and nobody else reaches it; then there is no certificate",
    "listen": "where clients connect",
    "server": "TorchServe's inference address",
    "checker": "where `python -m front check` listens",
    "max_body": "bytes of a request; keep it below TorchServe's max_request_size",
    "rate": "requests a second of a key",
    "burst": "requests of a key beyond that, at once",
    "requests": "requests of a key at a time",
    "server_requests": "requests at the server at a time; times max_body it has to fit in Java's memory",
    "address_rate": "requests a second of an address",
    "address_burst": "requests of an address beyond that, at once",
    "address_requests": "requests of an address at a time",
    "slow_seconds": "for a client's headers in all, and between two pieces of its body",
    "answer_seconds": "until the server's answer; keep it above responseTimeout of model-config.yaml",
    "workers": "nginx's processes; auto makes one for each core, in a container for each of the whole machine",
    "user": "whom nginx becomes where root starts it",
    "access_log": "a line of JSON for each request",
    "error_log": "nginx's own errors",
}

# Lines of the template that are there where clients connect by TLS.
_OF_TLS: Final = re.compile(r"\{\{#tls\}\}\n(.*?)\{\{/tls\}\}\n", re.DOTALL)


def render(settings: FrontSettings) -> str:
    """The configuration."""
    values = {one.name: str(getattr(settings, one.name)) for one in fields(settings)}
    headers = (f"proxy_set_header X-LSeg-{name} $http_x_lseg_{name};" for name in HEADER_FIELDS)
    values["fields"] = "\n".join(f"        {line}" for line in headers)
    values["ssl"] = " ssl" if settings.tls == "on" else ""
    template = _OF_TLS.sub(r"\1" if settings.tls == "on" else "", TEMPLATE.read_text(encoding="utf-8"))
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)
