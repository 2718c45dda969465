r"""The relay's shortcut: events that differ from one that was decoded in one string alone.

In:  a line of an event that was decoded, to learn from; then reads and lines.
Out: the same events as they leave; None where one is not proven to be like the one learned from.
Cost: one split a read, and a slice and a share of one decode an event.

A stream repeats itself: after its first chunk, most events differ in one string. A template is an
event cut around that string: prefix, string, suffix. An event that begins with the prefix and ends
with the suffix is taken without being decoded as a chunk. Why that is sound:

1. What was cut out is a JSON string that is the value of a key. The text `"content":"` can stand
   only there in a valid document: inside a string the quote after `content` would be escaped.
2. What is between prefix and suffix is proven, by decoding it, to be exactly one JSON string. So
   the event is a valid document that differs from the template in this value alone, and decodes as
   a chunk: it did, with a string there.
3. For many events at once, the strings are joined with a raw line feed between them and decoded as
   one array of strings. No JSON string contains a raw line feed, so none spans two events, so each
   event has at least one; as many strings as events means that each has exactly one.
4. That every event has the prefix and the suffix is proven by putting all together again and
   comparing it with what was read.
5. A template has no finish reason, no usage and no error, so that nothing but the counts changes
   with an event like it. What is to be changed in it is found out once, by changing the template
   with a mark in the string's place; if the mark is then not there once, it is no template.
"""

from __future__ import annotations

import re

import msgspec

from .stream import Observer

__all__ = ["MARK", "Template", "cut_around_string"]

MARK = b'"fastchunk:varies:7c1f0d"'
"""What stands in the string's place while the changes are found out."""

_DATA, _END = b"data: ", b"\n\n"
_LINE_FEED = 0x0A
_JSON_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_VARYING = ("content", "reasoning", "reasoning_content")

_decode_string = msgspec.json.Decoder(str).decode
_decode_strings = msgspec.json.Decoder(list[str]).decode


class Template(msgspec.Struct, frozen=True, gc=False):
    """An event cut around the string that varies, as it comes and as it leaves."""

    prefix: bytes
    suffix: bytes
    """With the empty line."""
    line_suffix: bytes
    """Without it."""
    between: bytes
    """From one event's string to the next one's: the suffix and the prefix."""
    begin: int
    end: int
    line_end: int
    """Where the string begins and ends, counted from behind, in an event and in its line."""
    new: tuple[bytes, bytes, bytes] | None
    """The prefix, what is between, and the suffix as they leave; None if they leave unchanged."""

    @classmethod
    def of(cls, before: bytes, after: bytes, new_before: bytes, new_after: bytes) -> Template:
        """Make a template of what surrounds the string in an event's data, before and after."""
        prefix, suffix = _DATA + before, after + _END
        new_prefix, new_suffix = _DATA + new_before, new_after + _END
        unchanged = (new_prefix, new_suffix) == (prefix, suffix)
        return cls(
            prefix=prefix,
            suffix=suffix,
            line_suffix=after,
            between=suffix + prefix,
            begin=len(prefix),
            end=-len(suffix),
            line_end=-len(after),
            new=None if unchanged else (new_prefix, new_suffix + new_prefix, new_suffix),
        )

    def resembles(self, line: bytes) -> bool:
        """Tell whether a line looks like the template's; nothing is proven by it."""
        return line.startswith(self.prefix) and line.endswith(self.line_suffix)

    def forward_line(self, line: bytes) -> bytes | None:
        """Return one event's line as it leaves; None if it is not like the template."""
        if not self.resembles(line):
            return None
        string = line[self.begin : self.line_end]
        try:
            _decode_string(string)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        if self.new is None:
            return line
        return b"".join((self.new[0], string, self.new[2][:-2]))

    def forward(self, data: bytes) -> tuple[bytes, int] | None:
        """Return a read as it leaves, itself if it is unchanged, and how many events it holds.

        None if it is not whole events that are all like the template.
        """
        if not (data.startswith(self.prefix) and data.endswith(self.suffix)):
            return None
        inner = data[self.begin : self.end]
        strings = [inner]
        try:
            if _LINE_FEED not in inner:
                _decode_string(inner)
            else:
                line_end, begin = self.line_end, self.begin
                strings = [line[begin:line_end] for line in data.split(b"\n")[:-1:2]]
                if self.between.join(strings) != inner:
                    return None
                if len(_decode_strings(b"[%b]" % b",\n".join(strings))) != len(strings):
                    return None
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        if self.new is None:
            return data, len(strings)
        prefix, between, suffix = self.new
        return b"".join((prefix, between.join(strings), suffix)), len(strings)


def cut_around_string(line: bytes) -> tuple[bytes, bytes] | None:
    """Cut an event's data in two around the string that will vary; None if it is no template."""
    data = line.removeprefix(_DATA)
    probe = Observer()
    chunk = probe.observe(data)
    if chunk is None or probe.finish_reasons or probe.usage or probe.error is not None:
        return None
    if not chunk.choices or not chunk.choices[0].delta or MARK in data:
        return None
    for name in _VARYING:
        if getattr(chunk.choices[0].delta, name):
            key = b'"%b":' % name.encode()
            begin = data.find(key + b'"') + len(key)
            string = _JSON_STRING.match(data, begin)
            if begin >= len(key) and string:
                return data[:begin], data[string.end() :]
    return None
