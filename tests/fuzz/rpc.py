"""Hostile calls over gRPC, past the front: made from a seed and a number, sent, and judged by what comes back.

Messages are written byte by byte as protobuf has them, so that they can be wrong.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc

from tests.fuzz.damage import damaged
from tests.fuzz.hostile import image, options
from tests.fuzz.images import corpus
from tests.fuzz.run import Report
from tests.fuzz.sending import Verdict

_SERVICE = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/"
_SECONDS = 90
_LARGEST = 20_000_000  # bytes of an answer
# What TorchServe may say of a call that it cannot serve; it has no finer words.
_REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
}
_DOCUMENTED = (503, 507)


@dataclass(frozen=True)
class Call:
    """A call as it goes over the wire."""

    method: str
    message: bytes
    streamed: bool
    metadata: tuple[tuple[str, str], ...] = ()


def hostile_call(seed: int, number: int) -> Call:
    """The call with this number: the same wherever and whenever it is made."""
    rng = random.Random(f"grpc {seed}:{number}")
    method = rng.choices(("Predictions", "StreamPredictions", "Ping", "None", "StreamPredictions2"), [60, 30, 4, 4, 2])[
        0
    ]
    message = _request(rng)
    wrong = rng.random()
    if wrong < 0.15:
        message = damaged(rng, "message", message, [message])
    elif wrong < 0.20:
        message = rng.randbytes(rng.choice((0, 1, 20, 3000)))
    metadata = [
        ("describe", "True"),
        ("explain", "True"),
        ("x-lseg-labels", "tree"),
        ("protocol", "x"),
        ("authorization", "Bearer x"),
        ("url_path", "a" * 5000),
    ]
    chosen = tuple(rng.sample(metadata, rng.choice((0, 0, 1, 3))))
    return Call(_SERVICE + method, message, method.startswith("Stream"), chosen)


def _request(rng: random.Random) -> bytes:
    """A PredictionsRequest: field 1 the model, 2 its version, 3 a map of names to bytes."""
    names = (b"lseg", b"", b"other", b"l" * 5000, b"\xff\xfe", b"../lseg")
    if rng.random() < 0.2:  # nothing wrong yet
        good = {"image": rng.choice(list(corpus().values())), "labels": b"sky,tree"}
        return _field(1, b"lseg") + b"".join(_entry(name, value) for name, value in good.items())
    parts = [_field(1, b"lseg" if rng.random() < 0.9 else rng.choice(names))]
    if rng.random() < 0.1:
        parts.append(_field(2, rng.choice((b"1.0", b"2", b"", b"x" * 300))))
    inputs = {name: value.encode("utf-8", "surrogatepass") for name, value in options(rng, 3).items()}
    if rng.random() < 0.95:
        inputs[rng.choice(("image", "image", "image", "data", "body", "instances", "labels"))] = image(rng)
    if rng.random() < 0.05:
        inputs |= {f"field {number}": b"x" for number in range(rng.choice((10, 2000)))}
    if rng.random() < 0.05:
        inputs["labels"] = json.dumps([[]] * rng.choice((1, 1000))).encode()
    entries = [_entry(name, value) for name, value in inputs.items()]
    rng.shuffle(entries)
    return b"".join(parts + entries)


def _entry(name: str, value: bytes) -> bytes:
    """An entry of the map."""
    return _field(3, _field(1, name.encode()) + _field(2, value))


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """A number in groups of 7 bits, the lowest first."""
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def judged_call(channel: grpc.Channel, call: Call) -> tuple[str, Verdict]:
    """What came back, in a word, and what is wrong with it, if anything is."""
    way = channel.unary_stream if call.streamed else channel.unary_unary
    try:
        found = way(call.method)(call.message, timeout=_SECONDS, metadata=call.metadata)
        message = b"".join(found) if call.streamed else found
    except grpc.RpcError as error:
        code, details = error.code(), str(error.details())
        dead = "Worker died" in details
        wrong = "the worker died" if dead else None if code in _REFUSALS else f"{code.name}: {details[:200]}"
        return code.name, Verdict(0, wrong)
    return _judged_answer(call, message)


def _judged_answer(call: Call, message: bytes) -> tuple[str, Verdict]:
    """A worker's errors come as answers: gRPC has no status for them here."""
    if b"Worker died" in message[:2000]:
        return "OK", Verdict(0, "the worker died")
    start = message.find(b'{"error"')
    if 0 <= start < 20:
        try:
            code = int(json.loads(message[start:])["error"]["code"])
        except (ValueError, KeyError, TypeError):
            return "OK", Verdict(0, f"an error in no known form: {message[:200]!r}")
        wrong = code >= 500 and code not in _DOCUMENTED
        return str(code), Verdict(code, f"{code}: {message[:200]!r}" if wrong else None)
    if not message and call.method.endswith("Predictions"):
        return "OK", Verdict(0, "an empty answer")
    return "OK", Verdict(200)


def fuzz_rpc(port: int, cases: Iterable[tuple[int, int]], clients: int = 4) -> Report:
    """Make the calls with these seeds and numbers to gRPC's port of inference, `clients` of them at a time."""
    report = Report()
    settings = [("grpc.max_receive_message_length", _LARGEST), ("grpc.max_send_message_length", _LARGEST)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", settings) as channel, ThreadPoolExecutor(clients) as pool:

        def one(case: tuple[int, int]) -> tuple[tuple[int, int], str, Verdict]:
            return case, *judged_call(channel, hostile_call(*case))

        for (seed, number), word, verdict in pool.map(one, cases):
            report.statuses["grpc", word] += 1
            if verdict.fault is not None:
                report.faults.append(f"{seed}:{number} (grpc) {verdict.fault}")
    return report
