"""Recognizes events that are like one before, but for a text.

In:  an event that was read, the text in it; then other events' data.
Out: the text of those that are the same around it.
Cost: two comparisons and the decoding of a string, where the event itself would have to be decoded.

A stream's events are alike: between the key of the text and the end, and before it, they are byte
for byte the same. If an event begins and ends like one that was read, and there is exactly one JSON
string in between, then it is a valid document that says the same, but for the text. Servers also
pad events with a string of random length; that one may differ, too.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

__all__ = ["Mold"]

_decode_string: Callable[[bytes], str] = msgspec.json.Decoder(str).decode
_encode: Callable[[str], bytes] = msgspec.json.Encoder().encode


class Mold:
    """What events that are alike have around their text."""

    __slots__ = ("_after", "_before", "_begin", "_between", "_end")

    def __init__(self, before: bytes, between: bytes | None, after: bytes) -> None:
        self._before = before
        self._begin = len(before)
        self._between = between
        """What stands between the text and the padding; None if there is no padding."""
        self._after = after
        self._end = -len(after)

    @classmethod
    def of(cls, data: bytes, key: str, value: str, padding: str | None = None) -> Mold | None:
        """Make a mold of an event with a text, and maybe a padding behind it; None if it has none.

        The event has to be one in which each of these keys is known to lead to what it names.
        """
        begin, end = _string_at(data, key)
        if not begin or data[begin:end] != _encode(value):
            return None
        if padding is None:
            return cls(data[:begin], None, data[end:])
        padding_begin, padding_end = _string_at(data, padding)
        if padding_begin < end:
            return None
        return cls(data[:begin], data[end:padding_begin], data[padding_end:])

    def read(self, data: bytes) -> str | None:
        """Return an event's text; None if the event is not alike."""
        if not (data.startswith(self._before) and data.endswith(self._after)):
            return None
        end = self._end
        try:
            if self._between is not None:
                end = data.find(self._between, self._begin)
                if end < 0:
                    return None
                _decode_string(data[end + len(self._between) : self._end])
            return _decode_string(data[self._begin : end])
        except ValueError:
            return None

    def write(self, value: str) -> bytes | None:
        """Return the event with another text; None if it would be padded to another's length."""
        if self._between is not None:
            return None
        return b"%b%b%b" % (self._before, _encode(value), self._after)


def _string_at(data: bytes, key: str) -> tuple[int, int]:
    """Find the string at the only key of a name; (0, 0) if it is not plain where it is.

    Without a backslash anywhere, a name in quotes that comes once, and is known to be a key, is it.
    """
    token = b'"%b"' % key.encode()
    at = data.find(token)
    if at < 0 or data.find(token, at + 1) >= 0 or b"\\" in data:
        return 0, 0
    begin = data.find(b'"', at + len(token))
    end = data.find(b'"', begin + 1) + 1
    colon = data[at + len(token) : begin].strip()
    return (begin, end) if begin > 0 and colon == b":" else (0, 0)
