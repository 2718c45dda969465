"""A seeded generator of documents, by class of case.

A document is built as a tree of pairs and raw tokens, so that it can hold what a dict cannot:
duplicate keys, any spelling of a number, any escape. Then it is written out, with white space
here and there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

CLASSES = (
    "schema",
    "lax",
    "wrong",
    "duplicate",
    "number",
    "string",
    "mutated",
)


class Token(str):
    """A piece of JSON text, written as it is."""

    __slots__ = ()


Pairs = list[tuple[str, Any]]

LAX_TOKENS = [
    *"0 1 -1 -0 0.0 -0.0 1.0 -1.0 1.5 1e5 1E+2 1e-2 1e400 -1e400 1e-400 1e15 1e16 -1e16".split(),
    *"9999999999999998.0 1e22 1.5e300 5e-324 0.1 0.0001 0.00001 1.5e-7 123456789.123456789".split(),
    *"9007199254740993 9223372036854775807 9223372036854775808 -9223372036854775809".split(),
    *"9.3e18 -9.223372036854776e18 18446744073709551616 123456789012345678901234567890".split(),
    *"true false null NaN Infinity -Infinity".split(),
    *"[] {} [1] [null] [[]] [{}] [1.0] [true]".split(),
    *'"" "0" "1" "-0" "+1" "-1" "01" "1_0" "1__0" "0_1" "_1" "1_" "0_0" "0__1" "0-1"'.split(),
    *'"1.0" "1.00" "1." ".0" ".5" "5." "." "1.5" "1e5" "1_0.0" "1_e5" "e5" "0x1" "1.0.0"'.split(),
    *'"nan" "NaN" "inf" "-inf" "+Infinity" "infinity" "-nan" "iNf" "infinit" "nan(1)"'.split(),
    *'"1e400" "1e16" "true" "null" "None" "١" "１" "1\\u0000" "9223372036854775808"'.split(),
    *'"+-1" "-+1" "--1" "++1" "00" "-00" "0.0" "-0.0" "+0_1" "0_.0" "-0-5" "0-0"'.split(),
    '" 1"', '"1 "', '"\\t1\\n"', '"\\u00a01"', '"\\u20281"', '"\\u001f1"', '"\\ufeff1"', '"1 0"',
    '" 1_0"', '" 1.5 "', '" 1_0.5"', '"\\u00851"', '"\\u180e1"', '"\\u200b1"',
]  # fmt: skip

STRINGS = [
    "", "a", " token", "é", "日本語", "😀", "\u2028", "\x7f", "\u0080", "\ufeff", "\uffff", "𝄞x",
    "\\", '"', "/", "\n", "\t", "\x00", "\x1f", "assistant", "stop", "chat.completion.chunk",
    "function", "content", '"content":null', '\\"content":null',
]  # fmt: skip

ESCAPES = [
    r"\u0041", r"\ud83d\ude00", r"\uD83D\uDE00", r"\ud800", r"\udc00", r"\ud83dx", r"\ud83d\u0041",
    r"\ud83d\ud83d\ude00", r"\ude00\ud83d", r"\\ud800", r"\ud83d\\ude00", r"\u00e9", r"\n", r"\/",
    r"\b\f\r\t", r"\x41", r"\u00g0", r"\u12", "\\", r"\u0000", "\x01", "\x7f", r"\'", r"\ud83d\n",
]  # fmt: skip

UNKNOWN = [
    "system_fingerprint", "service_tier", "obfuscation", "x_groq", "provider", "refusal", "é",
    "Content", "choice", "", "\x00", 'x"content', "reasoning", "native_finish_reason",
]  # fmt: skip


class Generator:
    """Documents of one class after the other, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.sloppy = 0.0
        self.unknown = 0.2

    def case(self, kind: str) -> bytes:
        make: Callable[[], bytes] = getattr(self, f"_{kind}")
        return make()

    # --- the classes of case ---

    def _schema(self) -> bytes:
        self.sloppy, self.unknown = 0.0, self.random.choice([0.0, 0.3])
        return self.write(self.response())

    def _lax(self) -> bytes:
        self.sloppy, self.unknown = self.random.choice([0.02, 0.1]), 0.1
        return self.write(self.response())

    def _wrong(self) -> bytes:
        self.sloppy, self.unknown = 0.0, 0.1
        tree = self.response()
        for _ in range(self.random.randint(1, 3)):
            self._replace_one(tree, self.any_value(2))
        return self.write(tree)

    def _duplicate(self) -> bytes:
        self.sloppy, self.unknown = 0.05, 0.1
        tree = self.response()
        for _ in range(self.random.randint(1, 3)):
            pairs = self.random.choice(list(_objects(tree)))
            if pairs:
                key, value = self.random.choice(pairs)
                twin = self.any_value(2) if self.random.random() < 0.7 else value
                pairs.insert(self.random.randint(0, len(pairs)), (key, twin))
        return self.write(tree)

    def _number(self) -> bytes:
        self.sloppy, self.unknown = 0.0, 0.0
        tree = self.response(rich=True)
        for _ in range(self.random.randint(1, 4)):
            text = self.number_like()
            self._replace_one(tree, Token(text if self.random.random() < 0.4 else f'"{text}"'))
        return self.write(tree)

    def _string(self) -> bytes:
        self.sloppy, self.unknown = 0.0, 0.1
        tree = self.response()
        for _ in range(self.random.randint(1, 3)):
            parts = self.random.choices(ESCAPES + [json.dumps(s)[1:-1] for s in STRINGS], k=2)
            self._replace_one(tree, Token('"' + "".join(parts) + '"'))
        return self.write(tree)

    def _mutated(self) -> bytes:
        data = bytearray(self._lax() if self.random.random() < 0.3 else self._schema())
        for _ in range(self.random.randint(1, 3)):
            at = self.random.randint(0, len(data))
            action = self.random.randint(0, 5)
            if action == 0:
                data.insert(at, self.random.choice(b'{}[]",:0123456789.eE+-ntf \\\xff\xc3'))
            elif action == 1:
                del data[at : at + self.random.randint(1, 4)]
            elif action == 2 and at < len(data):
                data[at] = self.random.randrange(256)
            elif action == 3:
                other = self.random.randint(0, len(data))
                data[at:at] = data[other : other + self.random.randint(1, 20)]
            elif action == 4:
                del data[at:]
            else:
                data[at:at] = self.random.choice([b"\xef\xbb\xbf", b"\x00", b" ", b",", b"null"])
        return bytes(data)

    # --- trees of the schema's shape ---

    def response(self, *, rich: bool = False) -> Pairs:
        return self.object(
            [
                ("id", self.string, False),
                ("object", lambda: "chat.completion.chunk", False),
                ("created", self.integer, False),
                ("model", self.string, True),
                ("choices", lambda: self.list_of(lambda: self.choice(rich), rich), True),
                ("usage", lambda: self.nullable(self.usage), False),
            ]
        )

    def choice(self, rich: bool) -> Pairs:
        return self.object(
            [
                ("index", self.integer, True),
                ("delta", self.delta, True),
                ("logprobs", self.logprobs if rich else lambda: self.nullable(self.logprobs), rich),
                ("finish_reason", lambda: self.nullable(self.string), False),
                ("stop_reason", self.stop_reason, False),
            ]
        )

    def delta(self) -> Pairs:
        return self.object(
            [
                ("role", lambda: self.nullable(self.string), False),
                ("content", lambda: self.nullable(self.string), False),
                ("reasoning_content", lambda: self.nullable(self.string), False),
                ("tool_calls", lambda: self.list_of(self.tool_call, False), False),
            ]
        )

    def tool_call(self) -> Pairs:
        function: list[tuple[str, Callable[[], Any], bool]] = [
            ("name", lambda: self.nullable(self.string), False),
            ("arguments", lambda: self.nullable(self.string), False),
        ]
        return self.object(
            [
                ("id", self.string, False),
                ("type", lambda: "function", False),
                ("index", self.integer, True),
                ("function", lambda: self.nullable(lambda: self.object(function)), False),
            ]
        )

    def logprobs(self) -> Pairs:
        entries = lambda: self.list_of(lambda: self.logprob(True), True)  # noqa: E731
        return self.object([("content", lambda: self.nullable(entries), False)])

    def logprob(self, top: bool) -> Pairs:
        fields: list[tuple[str, Callable[[], Any], bool]] = [
            ("token", self.string, True),
            ("logprob", self.number, False),
            ("bytes", lambda: self.nullable(lambda: self.list_of(self.integer, False)), False),
        ]
        if top:
            fields.append(
                ("top_logprobs", lambda: self.list_of(lambda: self.logprob(False), False), False)
            )
        return self.object(fields)

    def usage(self) -> Pairs:
        details: list[tuple[str, Callable[[], Any], bool]] = [
            ("cached_tokens", lambda: self.nullable(self.integer), False)
        ]
        return self.object(
            [
                ("prompt_tokens", self.integer, False),
                ("total_tokens", self.integer, False),
                ("completion_tokens", lambda: self.nullable(self.integer), False),
                (
                    "prompt_tokens_details",
                    lambda: self.nullable(lambda: self.object(details)),
                    False,
                ),
            ]
        )

    def object(self, fields: list[tuple[str, Callable[[], Any], bool]]) -> Pairs:
        pairs: Pairs = [
            (name, self.maybe_sloppy(make))
            for name, make, required in fields
            if self.random.random() < (0.995 if required else 0.7)
        ]
        if self.random.random() < self.unknown:
            at = self.random.randint(0, len(pairs))
            pairs.insert(at, (self.random.choice(UNKNOWN), self.any_value(3)))
        if self.random.random() < 0.1:
            self.random.shuffle(pairs)
        return pairs

    # --- values ---

    def maybe_sloppy(self, make: Callable[[], Any]) -> Any:
        if self.random.random() < self.sloppy:
            return Token(self.random.choice(LAX_TOKENS))
        return make()

    def nullable(self, make: Callable[[], Any]) -> Any:
        return None if self.random.random() < 0.4 else make()

    def list_of(self, make: Callable[[], Any], some: bool) -> list[Any]:
        sizes = [1, 1, 2] if some else [0, 1, 1, 1, 2, 3]
        return _Array(self.maybe_sloppy(make) for _ in range(self.random.choice(sizes)))

    def string(self) -> str:
        return self.random.choice(STRINGS)

    def integer(self) -> int:
        return self.random.choice([0, 1, 7, 255, 1700000000, -1, 2**53 + 1, 2**63, 10**25])

    def number(self) -> Any:
        draw = self.random.random()
        if draw < 0.5:
            return -self.random.random() * self.random.choice([1, 10, 1000])
        if draw < 0.8:
            return Token(
                repr(self.random.uniform(-10, 10) * 10.0 ** self.random.randint(-320, 307))
            )
        return self.integer()

    def stop_reason(self) -> Any:
        return self.random.choice([None, 0, 128009, "</s>", "12", ""])

    def number_like(self) -> str:
        draw = self.random.random()
        if draw < 0.35:
            return "".join(self.random.choices("0011259+-._eE", k=self.random.randint(1, 7)))
        if draw < 0.6:
            return "".join(self.random.choices("01_.- ", k=self.random.randint(1, 8)))
        digits = "".join(self.random.choices("0123456789", k=self.random.randint(1, 25)))
        if draw < 0.7:
            return self.random.choice(["", "-", "+"]) + digits
        if draw < 0.72:
            return self.random.choice(["1", "0", "-1", "1_"]) + "0" * self.random.randint(
                4290, 4305
            )
        exponent = self.random.randint(-330, 330)
        return f"{digits[0]}.{digits}{self.random.choice('eE')}{exponent}"

    def any_value(self, depth: int) -> Any:
        draw = self.random.random()
        if depth and draw < 0.2:
            return _Array(self.any_value(depth - 1) for _ in range(self.random.randint(0, 3)))
        if depth and draw < 0.4:
            keys = self.random.choices([*UNKNOWN, "content", "index"], k=self.random.randint(0, 3))
            return [(key, self.any_value(depth - 1)) for key in keys]
        if draw < 0.6:
            return self.string()
        return Token(self.random.choice(LAX_TOKENS))

    # --- changing and writing trees ---

    def _replace_one(self, tree: Pairs, value: Any) -> None:
        slots = list(_slots(tree))
        if slots:
            holder, at = self.random.choice(slots)
            holder[at] = value if isinstance(holder, _Array) else (holder[at][0], value)

    def write(self, tree: Any) -> bytes:
        spaces = self.random.random() < 0.15
        escaped = self.random.random() < 0.3
        return self._text(tree, spaces, escaped).encode("utf-8", "surrogatepass")

    def _text(self, tree: Any, spaces: bool, escaped: bool) -> str:
        gap = self.random.choice(["", " ", "\n", "\t \r"]) if spaces else ""
        if isinstance(tree, Token):
            return tree + gap
        if isinstance(tree, _Array):
            items = [self._text(item, spaces, escaped) for item in tree]
            return f"[{gap}{','.join(items)}]{gap}"
        if isinstance(tree, list):
            pairs = [
                f"{json.dumps(key, ensure_ascii=escaped)}{gap}:{self._text(value, spaces, escaped)}"
                for key, value in tree
            ]
            return f"{{{gap}{f',{gap}'.join(pairs)}}}{gap}"
        return json.dumps(tree, ensure_ascii=escaped) + gap


class _Array(list[Any]):
    """A JSON array; a plain list is an object's pairs."""


def _slots(tree: Any) -> Any:
    if isinstance(tree, list):
        for at, item in enumerate(tree):
            yield tree, at
            yield from _slots(item if isinstance(tree, _Array) else item[1])


def _objects(tree: Any) -> Any:
    if isinstance(tree, list):
        if not isinstance(tree, _Array):
            yield tree
        for item in tree:
            yield from _objects(item if isinstance(tree, _Array) else item[1])
