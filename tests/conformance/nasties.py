"""Hand-written documents, each with an id that says what is nasty about it.

The oracle decides every one: the table says what to ask, never what the answer is.
"""

from __future__ import annotations


def _top(key: str, value: str) -> bytes:
    return f'{{"model":"m","choices":[],"{key}":{value}}}'.encode("utf-8", "surrogatepass")


def _choice(fields: str) -> bytes:
    document = f'{{"model":"m","choices":[{{"index":0,"delta":{{}},{fields}}}]}}'
    return document.encode("utf-8", "surrogatepass")


def _delta(fields: str) -> bytes:
    return f'{{"model":"m","choices":[{{"index":0,"delta":{{{fields}}}}}]}}'.encode()


def _logprob(value: str) -> bytes:
    return _choice(f'"logprobs":{{"content":[{{"token":"t","logprob":{value}}}]}}')


def _lax_and(unknown: str) -> bytes:
    """Make a document that only the exact path decodes, with a value of an unknown key."""
    return _top("created", f'"1","x":{unknown}')


def _nested(depth: int) -> str:
    return "[" * depth + "]" * depth


NASTIES: dict[str, bytes] = {
    # the whole document
    "empty": b"",
    "white-space-only": b" \n\t\r ",
    "null": b"null",
    "true": b"true",
    "number": b"1",
    "string": b'"x"',
    "array": b"[]",
    "empty-object": b"{}",
    "minimal": b'{"model":"m","choices":[]}',
    "done-marker": b"[DONE]",
    "byte-order-mark": b'\xef\xbb\xbf{"model":"m","choices":[]}',
    "nul-after": b'{"model":"m","choices":[]}\x00',
    "trailing-document": b'{"model":"m","choices":[]}{}',
    "trailing-comma": b'{"model":"m","choices":[],}',
    "white-space-around": b' \t\r\n{ "model" : "m" , "choices" : [ ] } \n',
    "vertical-tab": b'{"model":"m",\x0b"choices":[]}',
    "no-break-space": b'{"model":"m",\xc2\xa0"choices":[]}',
    "single-quotes": b"{'model':'m','choices':[]}",
    "comment": b'{"model":"m","choices":[]} // hm',
    "cut-in-key": b'{"model":"m","cho',
    "cut-in-string": b'{"model":"m',
    "cut-in-number": b'{"model":"m","choices":[],"created":1',
    "cut-in-literal": b'{"model":"m","choices":[],"usage":nul',
    "error-object": b'{"error":{"message":"no","type":"x","param":null,"code":400}}',
    # UTF-8
    "utf8-bad-in-known-value": b'{"model":"\xff","choices":[]}',
    "utf8-bad-in-unknown-value": b'{"model":"m","choices":[],"x":"\xff"}',
    "utf8-bad-in-unknown-key": b'{"model":"m","choices":[],"\xff":1}',
    "utf8-bad-in-nested-unknown": b'{"model":"m","choices":[],"x":[{"y":"\xc3"}]}',
    "utf8-overlong": b'{"model":"m","choices":[],"x":"\xc0\xaf"}',
    "utf8-surrogate": b'{"model":"m","choices":[],"x":"\xed\xa0\x80"}',
    "utf8-cut-character": b'{"model":"m\xe6\x97","choices":[]}',
    "utf8-above-10ffff": b'{"model":"m","choices":[],"x":"\xf4\x90\x80\x80"}',
    "utf8-outside-strings": b'{"model":"m","choices":[]\xc3\xa9}',
    "utf8-four-bytes": '{"model":"😀","choices":[],"x":"𝄞"}'.encode(),
    # escapes
    "escape-pair": _top("x", r'"\ud83d\ude00"'),
    "escape-pair-in-model": rb'{"model":"\ud83d\ude00","choices":[]}',
    "escape-lone-high": _top("x", r'"\ud800"'),
    "escape-lone-high-upper-case": _top("x", r'"\uD800"'),
    "escape-lone-low": _top("x", r'"\udc00"'),
    "escape-lone-high-then-text": _top("x", r'"\ud800x"'),
    "escape-lone-high-then-escape": _top("x", r'"\ud800\n"'),
    "escape-lone-high-then-bmp": _top("x", r'"\ud800\u0041"'),
    "escape-high-high-low": _top("x", r'"\ud800\ud83d\ude00"'),
    "escape-low-high": _top("x", r'"\ude00\ud83d"'),
    "escape-halves-in-two-strings": _top("x", r'["\ud83d","\ude00"]'),
    "escape-lone-with-lax-number": b'{"model":"m","choices":[],"created":"1","x":"\\ud800"}',
    "escape-pair-with-lax-number": b'{"model":"m","choices":[],"created":"1","x":"\\ud83d\\ude00"}',
    "escape-backslash-then-ud800": b'{"model":"m","choices":[],"created":"1","x":"\\\\ud800"}',
    "escape-short-hex": _top("x", r'"\u12"'),
    "escape-not-hex": _top("x", r'"\u00g0"'),
    "escape-unknown": _top("x", r'"\x41"'),
    "escape-nul": _top("id", r'"\u0000"'),
    "control-character-raw": b'{"model":"\x01","choices":[]}',
    "control-character-raw-in-unknown": b'{"model":"m","choices":[],"x":"\n"}',
    "delete-character-raw": b'{"model":"\x7f","choices":[]}',
    "escaped-key": rb'{"m\u006fdel":"m","choices":[]}',
    "line-separators": '{"model":"\u2028\u2029\u0085","choices":[]}'.encode(),
    # nesting: what is around the oracle's limit is in `nested`
    "nested-lax-100000": _lax_and(_nested(100_000)),
    "nested-invalid-100000": b'{"model":"m","choices":[],"x":' + b"[" * 100_000,
    "nested-100000": b'{"model":"m","choices":[],"x":' + _nested(100_000).encode() + b"}",
    "many-brackets-in-strings": _lax_and('"' + r'[[{\"' * 300 + '"'),
    "many-shallow-brackets": _lax_and("[" + "[]," * 300 + "[]]"),
    "many-shallow-brackets-in-unknown": _top("x", "[" + "[1]," * 300 + "{}]"),
    "many-brackets-in-strings-in-unknown": _top("x", '"' + r"[[{\\\\" * 300 + '"'),
    # integers
    **{
        f"created-{text}": _top("created", text)
        for text in [
            *"1.0 1e5 -0.0 -0 1.5 1e19 9.3e18 true false null NaN Infinity -Infinity 1e400".split(),
            *"9223372036854775807 9223372036854775808 -9223372036854775809 01 +1 .5 1. -".split(),
            *"9223372036854775807.0 -9223372036854775808.0 9.223372036854775e18 [] {}".split(),
            *'"12" "12.0" "+12" "1_000" "1__0" "_1" "1_" "" "1e3" "12." ".0" "0_1" "00"'.split(),
            *'"+-1" "0-5" "-0-5" "0-0" "0-_5" "0-__5" "0_0__1" "-1_0.00" "0_.0" "nan"'.split(),
            *r'"\u00a012" "\u200912" "\u001f12" "\u008512" "\u0661" "12\u0000" " 12 "'.split(),
        ]
    },
    "created-4300-digits": _top("created", "1" * 4300),
    "created-4301-digits": _top("created", "1" * 4301),
    "created-minus-4300-digits": _top("created", "-" + "1" * 4300),
    "created-string-4300-digits": _top("created", '"' + "1" * 4300 + '"'),
    "created-string-4301-digits": _top("created", '"' + "1" * 4301 + '"'),
    "created-string-4300-zeros": _top("created", '"' + "0" * 4300 + '1"'),
    "created-string-space-4301-digits": _top("created", '" ' + "1" * 4301 + '"'),
    "created-string-4301-digits-fraction": _top("created", '"' + "1" * 4301 + '.0"'),
    "unknown-value-4300-digits": _top("x", "1" * 4300),
    "unknown-value-4301-digits": _top("x", "1" * 4301),
    "unknown-value-4301-digits-in-a-string": _top("x", '"' + "1" * 4301 + '"'),
    "unknown-value-4301-decimals": _top("x", "0." + "1" * 4301),
    "unknown-value-long-and-no-number": _top("x", '"' + "1a" * 9000 + '"'),
    # floats
    **{
        f"logprob-{text}": _logprob(text)
        for text in [
            *"1 -0 -0.0 1e15 1e16 -1e16 9999999999999998.0 1e22 1e308 1e400 -1e400".split(),
            *"1e-5 1e-6 1e-7 0.0001 1.5e-10 5e-324 2.2250738585072014e-308 1e-400 1E5".split(),
            *"9007199254740993 12345678901234567890 true false null NaN -Infinity".split(),
            *'"nan" "inf" "+Infinity" "-nan" ".5" "5." "" "1_0.0" "1_e5" "1__0" "1e400"'.split(),
            *r'" 1.5 " " 1_5" "\u00a01.5" "0x1" "1d5" "nan(1)" "infinit" []'.split(),
        ]
    },
    "logprob-309-digits": _logprob("1" * 309),
    # A tie in the 64 highest bits, broken by a bit that jiter overlooks in a 129-bit integer.
    "logprob-129-bits": _logprob("433126686194571055859918198552132189806"),
    "logprob-400-digits": _logprob("-" + "1" * 400),
    "logprob-4300-digits": _logprob("1" * 4300),
    "logprob-4301-digits": _logprob("1" * 4301),
    "logprob-4301-digits-and-exponent": _logprob("1" * 4301 + "e-4290"),
    "logprob-4301-digits-and-fraction": _logprob("1" * 4301 + ".5"),
    "logprob-4400-decimals": _logprob("0." + "0" * 4400 + "1"),
    "logprob-absent": _choice('"logprobs":{"content":[{"token":"t"}]}'),
    "logprobs-content-null": _choice('"logprobs":{"content":null}'),
    "logprobs-content-empty": _choice('"logprobs":{"content":[]}'),
    "logprobs-bytes": _choice('"logprobs":{"content":[{"token":"t","bytes":[1,"2",3.0]}]}'),
    # null and absent
    "content-null": _delta('"content":null'),
    "content-null-spaced": _delta('"content": null'),
    "content-null-wide": _delta('"content"\n:\tnull'),
    "content-null-twice": _delta('"content":null,"content":null'),
    "content-null-then-text": _delta('"content":null,"content":"x"'),
    "content-text-then-null": _delta('"content":"x","content":null'),
    "content-null-both-spellings": b'{"model":"m","choices":[{"index":0,"delta":{"content":null}},'
    b'{"index":1,"delta":{"content": null}}]}',
    "content-null-and-logprobs-null": _choice(
        '"logprobs":{"content":null},"delta":{"content":null}'
    ),
    "content-null-in-unknown": _top("x", '{"content":null}'),
    "content-null-text": _delta(r'"content":"\"content\":null"'),
    "content-null-key-ends-alike": _delta(r'"x\"content":null,"content":null'),
    "content-null-after-escape": _delta(r'"content":"\\","reasoning_content":"\"content\":null"'),
    "content-nullx": _delta('"content":nullx'),
    "content-number": _delta('"content":1'),
    "content-parts": _delta('"content":[{"type":"text","text":"x"}]'),
    "content-empty": _delta('"content":""'),
    "delta-null": b'{"model":"m","choices":[{"index":0,"delta":null}]}',
    "delta-absent": b'{"model":"m","choices":[{"index":0}]}',
    "choices-null": b'{"model":"m","choices":null}',
    "choices-object": b'{"model":"m","choices":{}}',
    "choices-of-null": b'{"model":"m","choices":[null]}',
    "model-null": b'{"model":null,"choices":[]}',
    "tool-calls-null": _delta('"tool_calls":null'),
    "tool-call-without-index": _delta('"tool_calls":[{"id":"x"}]'),
    "tool-call-function-null": _delta('"tool_calls":[{"index":0,"function":null}]'),
    "tool-call-type-custom": _delta('"tool_calls":[{"index":0,"type":"custom"}]'),
    "usage-empty": _top("usage", "{}"),
    "usage-completion-null": _top("usage", '{"completion_tokens":null}'),
    "usage-prompt-null": _top("usage", '{"prompt_tokens":null}'),
    "object-other": _top("object", '"chat.completion"'),
    "object-empty": _top("object", '""'),
    "object-number": _top("object", "1"),
    # unions
    **{
        f"stop-reason-{text}": _choice(f'"stop_reason":{text}')
        for text in '1 1.0 1.5 "1" "" true NaN 1e30 1e400 [] {} 12345678901234567890'.split()
    },
    # duplicates
    "duplicate-first-bad": b'{"model":1,"model":"m","choices":[]}',
    "duplicate-last-bad": b'{"model":"m","model":1,"choices":[]}',
    "duplicate-both-good": b'{"model":"a","model":"b","choices":[]}',
    "duplicate-escaped": rb'{"model":1,"m\u006fdel":"b","choices":[]}',
    "duplicate-nested-bad": _delta('"tool_calls":[{}],"tool_calls":[]'),
    # many errors, in the order of the fields
    "many-errors": b'{"usage":1,"choices":[{"stop_reason":[],"delta":{"tool_calls":[{},'
    b'{"function":1}],"role":1},"index":"x"},3,{"index":1.5,"delta":[]}],"created":"x","object":2,"id":null}',
}  # fmt: skip

NESTED_AT: dict[str, str] = {
    "unknown": '{"model":"m","choices":[],"x":%s}',
    "unknown-first": '{"x":%s,"model":"m","choices":[]}',
    "unknown-and-lax": '{"model":"m","choices":[],"created":"1","x":%s}',
    "unknown-null-content": '{"choices":[{"index":0,"delta":{"content":null}}],"model":"","x":%s}',
    "unknown-non-ascii": '{"model":"日本","choices":[],"é":%s}',
    "unknown-in-usage": '{"model":"m","choices":[],"usage":{"x":%s}}',
    "unknown-in-delta": '{"model":"m","choices":[{"index":0,"delta":{"x":%s}}]}',
    "model": '{"choices":[],"model":%s}',
    "model-twice": '{"model":%s,"choices":[],"model":"m"}',
    "choices": '{"model":"m","choices":%s}',
    "usage": '{"model":"m","choices":[],"usage":%s}',
    "content": '{"model":"m","choices":[{"index":0,"delta":{"content":%s}}]}',
    "stop-reason": '{"model":"m","choices":[{"index":0,"delta":{},"stop_reason":%s}]}',
    "document": "%s",
    "no-document": "%s]",
}
INNERMOST = ["[]", "{}", "[ ]", "{\n}", "1", '""', "[1]", '{"":1}', '"]"', r'"\"]]"', r'["\\",[]]']


def nested(where: str, kinds: str, levels: int, innermost: str) -> bytes:
    """Put a value into `levels` arrays and objects, in turn of the `kinds`, and into a document."""
    turns = (kinds * levels)[:levels]
    opened = "".join("[" if kind == "[" else '{"a":' for kind in turns)
    closed = "".join("]" if kind == "[" else "}" for kind in reversed(turns))
    return (NESTED_AT[where] % f"{opened}{innermost}{closed}").encode()


NASTY_OBJECTS: dict[str, object] = {
    "none": None,
    "number": 1,
    "text": "{}",
    "list": [],
    "empty": {},
    "minimal": {"model": "m", "choices": []},
    "surrogate-in-content": {
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": "\ud800"}}],
    },
    "surrogate-in-unknown-key": {"model": "m", "choices": [], "\ud800": "\ud800"},
    "surrogate-in-number": {"model": "m", "choices": [], "created": "\ud800"},
    "surrogate-in-literal": {"model": "m", "choices": [], "object": "\ud800"},
    "huge-int-for-float": {
        "model": "m",
        "choices": [
            {
                "index": 10**400,
                "delta": {},
                "logprobs": {"content": [{"token": "t", "logprob": 10**400}]},
            }
        ],
    },
    "nan-for-int": {"model": "m", "choices": [], "created": float("nan")},
    "wide-float-for-int": {"model": "m", "choices": [], "created": 1e300},
    "bool-for-int": {"model": "m", "choices": [], "created": True},
    "content-none": {"model": "m", "choices": [{"index": 0, "delta": {"content": None}}]},
}
