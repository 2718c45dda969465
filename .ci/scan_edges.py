"""Put documents and reads that end anywhere through every function of the compiled scanner.

A sanitizer is to watch: each input is an allocation of its own that ends where the input does.
Answers are not compared here; none may raise, and what passes on as it came has to be what came.
"""

from __future__ import annotations

import argparse
import random
import time
from types import SimpleNamespace
from typing import Any

from msgspec.json import encode

from fastchunk import _scan, wire

PATHS: list[tuple[str | None, ...]] = [
    ("model",),
    ("usage",),
    ("choices",),
    ("error",),
    ("choices", None, "index"),
    ("choices", None, "finish_reason"),
    ("choices", None, "delta", "content"),
    ("choices", "0", "text"),
]
TABLE = _scan.Table(PATHS)
SET = _scan.Table([("model",), ("usage",), ("n",)])
ROLES = [0, 2, 1, 1, 1, 1, 0, 0]
MARKS = [4, 2, 1, 1, 1, 1, 5, 5]
CHANGES = [b'"alias"', None, ..., ..., ..., ..., ..., ...]
DOCUMENTS = [
    b'{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"a \\u00e9\\ud83d\\ude00"},'
    b'"finish_reason":null}],"usage":{"prompt_tokens":1},"created":1700000000}',
    '{"model" : "é€😀", "choices" : [ {"text":"x", "index":-1.5e+10, "delta":{}} , {} ] }'.encode(),
    b'{"choices":[],"usage":null,"error":{"message":"\\"\\\\\\/\\b\\f\\n\\r\\t"},"a":[true,false]}',
    b'{"a":' + b'[{"b":' * 31 + b"0" + b"}]" * 31 + b"}",
    b'{"model":"' + b"x" * 40 + b'","system_fingerprint":"' + b"y" * 9 + b'","n":123456789012}',
]
FRAGMENTS = [
    *(b'"', b"\\", b"\\u", b"\\ud800", b"\\ud83d\\ud", b"{", b"}", b"[", b"]", b",", b":", b"-"),
    *(b"0.", b"1e", b"1e+", b"9" * 19, b"nul", b"tru", b"fals", b"\x00", b"\n", b"\r", b" " * 9),
    *(b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xf4\x90", b"\xef\xbb\xbf"),
    *(b"data: ", b"\n\ndata:", b": c\n", b"event: error\n", b'"model":"x",', b'"usage":{},'),
    b'"choices":[{}],',
]


PLAN: Any = SimpleNamespace(is_simple=True)
EDIT = _scan.quick_editor(lambda _: SET, encode, ..., lambda data, _: data)


def put_document(data: bytes) -> None:
    """Scan and change one document."""
    found = _scan.scan(data, TABLE)
    assert all(0 <= begin < end <= len(data) for _, begin, end in found or ())
    _scan.splice(data, TABLE, CHANGES)
    assert _scan.splice(data, TABLE, [...] * len(PATHS)) in (data, None)
    _scan.is_plain(data, TABLE)
    _scan.is_plain(data)
    EDIT(data, {"model": "alias", "usage": ..., "n": 1})
    _scan.guarded_decoder(len, len)(data)


def put_read(data: bytes, rng: random.Random) -> None:
    """Cut a read, and forward it with and without changes as a relay does."""
    _scan.cut_plain(data)
    for values in (CHANGES, [...] * len(PATHS)):
        table = _scan.Table(PATHS, ROLES)
        forwarder = _scan.Forwarder(table, values, _scan.Tally(), rng.choice([40, 1 << 20]))
        at = 0
        while at < len(data):
            out, at = forwarder.forward(data, at)
            assert values is CHANGES or out == data[at - len(out) : at]
            # Pass by what was left, which is one event for a relay, and let others like it pass.
            is_withheld = values is CHANGES and rng.random() < 0.1
            forwarder.learn(rng.random() < 0.8, is_withheld, {0}, {0: "stop"})
            end = data.find(b"\n\n", at)
            at = len(data) if end < 0 else end + 2
        forwarder.ready = True
        for read in (data, data[: rng.randint(0, len(data))]):
            if forwarder.feed(read) is None:
                forwarder.rest()


def put_read_to_decode(data: bytes, rng: random.Random) -> None:
    """Decode the events of a read as a stream of chunks does."""
    reader = _scan.Reader(wire.decode_utf8, _scan.Tally(), rng.choice([40, 1 << 20]))
    reader.ready = True
    if reader.feed(data) is None:
        _, at = reader.rest()
        assert at < len(data)
        reader.read(data[at:])
    answers = [lambda event, _: event, lambda *_: None, lambda *_: (b": c\n", b"{}")]
    looker = _scan.Looker(reader, rng.choice(answers), rng.choice([40, 1 << 20]))
    _, at = looker.forward(data, 0)
    assert at <= len(data)


def put_alike(documents: list[bytes]) -> None:
    """Recognize documents, learn those that are new, and write their texts anew."""
    alike = _scan.Alike(_scan.Table(PATHS, MARKS, ["text", "content"]), _scan.Tally())
    for data in documents:
        found = alike.find(data)
        if found is not None:
            alike.note(data)
            if found[1]:
                alike.rewrite(data, b'"x"', PLAN)
        elif alike.asks:
            alike.learn("said", _scan.Tally(), data, "x", ())


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change a few places."""
    for _ in range(rng.randint(0, 3)):
        at, end = rng.randint(0, len(data)), rng.randint(0, 9)
        data = data[:at] + rng.choice([*FRAGMENTS, b"", rng.randbytes(1)]) + data[at + end :]
    return data


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, required=True)
    end = time.monotonic() + parser.parse_args().seconds
    rng = random.Random(11)
    for document in DOCUMENTS:
        for fragment in (b"", *FRAGMENTS):
            for at in range(len(document) + 1):
                put_document(document[:at] + fragment)
    cases = 0
    while time.monotonic() < end:
        cases += 1
        put_document(mutate(rng.choice(DOCUMENTS), rng))
        alike = rng.choice(DOCUMENTS)
        put_alike([alike, alike, *(mutate(alike, rng) for _ in range(4))])
        line_end = rng.choice([b"\n", b"\n", b"\r\n"])
        events = [rng.choice(DOCUMENTS)] * 3 + [mutate(rng.choice(DOCUMENTS), rng)]
        read = b"".join(b"data: " + event + 2 * line_end for event in events)
        read = mutate(read, rng)
        for fed in (read, read[: rng.randint(0, len(read))]):
            put_read(fed, rng)
            put_read_to_decode(fed, rng)
    print(f"{cases:,} reads: nothing found")


if __name__ == "__main__":
    main()
