r"""Text that spans events: rules that replace, stop and split it, whatever the cuts.

In:  the pieces of a stream's texts, as they come.
Out: what may leave now; the rest once it is decided, or at the end of the text.
Cost: where nothing is held and nothing changes, one compiled search in the piece for each rule.
What is held is looked at again when more comes; it is never longer than the longest match.

What comes out of a channel, joined, is the rule applied to the channel's whole text, for every way
to cut it. What is held back is the longest end of the text that more text could still make part of
a match.

    >>> stream = Filter([Replace("4111 1111", "[card]"), Stop("\n\nUser:")])
    >>> [stream.feed(piece) for piece in ("Card 41", "11 111", "1.\n", "\nUser", ": more")]
    ['Card ', '', '[card].', '', '']
    >>> stream.stopped
    True
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol, TypeAlias

from .literals import UNDECIDED, Literals
from .patterns import BoundedPattern

__all__ = ["Chain", "Channel", "Filter", "Piece", "Replace", "Rule", "Rules", "Split", "Stop"]

Channel: TypeAlias = tuple[str, int]
"""A text of a choice: its name, and a number. ("content", 0), ("reasoning", 0), ("refusal", 0), or
("arguments", the number of the tool call)."""
Piece: TypeAlias = tuple[Channel, str]
"""A part of a channel's text."""
Replacement: TypeAlias = str | Callable[[re.Match[str]], str]

_CONTENT, _REASONING, _REFUSAL, _ARGUMENTS = _NAMES = (
    "content",
    "reasoning",
    "refusal",
    "arguments",
)
_PROSE = (_CONTENT, _REASONING, _REFUSAL)


class Replace:
    r"""Replaces strings, or what a pattern matches.

    `pattern` is a string, several, or a compiled pattern. Of several strings that match, the
    leftmost counts, and of those the longest; the replacement takes their place as it is. For a
    compiled pattern the result is `pattern.sub(replacement, text)`, so that a replacement may be a
    template or a function of the match; the match knows its groups, but its positions are not
    those in the whole text. What was put in is not looked at again. The arguments of tool calls
    are JSON, as the model writes it, and only read when `channels` names "arguments".

    `longest` is the length of the longest match, in characters. It need not be given; where more
    can match, the rule is refused with a `ValueError`. So is, with the reason, a pattern whose
    matches cannot be told while the text grows: one that has no bound, may match nothing, asks for
    the end of the text, looks around for anything but one character, or refers back to a group.
    A pattern costs what `re` takes for it; one that drives `re` to try everything does so here.

    >>> Filter([Replace(re.compile(r"(\d{4})-\d{4}"), r"\1-****")]).feed("1234-5678.")
    '1234-****.'
    """

    def __init__(
        self,
        pattern: str | Iterable[str] | re.Pattern[str],
        replacement: Replacement,
        *,
        longest: int | None = None,
        channels: Iterable[str] = _PROSE,
    ) -> None:
        self.channels: tuple[str, ...] = _checked_channels(channels)
        self._finder: Literals | BoundedPattern
        if isinstance(pattern, re.Pattern):
            self._finder = BoundedPattern(pattern, longest)
            self._write = _writer(self._finder, pattern, replacement)
        else:
            strings = _checked_strings([pattern] if isinstance(pattern, str) else pattern)
            if longest is not None and longest < max(map(len, strings)):
                raise ValueError(f"longest={longest}, but one of the strings is longer")
            if not isinstance(replacement, str):
                raise TypeError("what replaces a string is a str")
            self._finder = Literals(strings)
            self._write = lambda _text, _start: replacement

    def start(self, channel: Channel) -> _Step:
        """Begin with a channel's text."""
        return _Replacing(self._finder, self._write, channel)


class Stop:
    """Ends the choice before a string: the content up to it leaves, and nothing after that.

    Of several strings the leftmost in the text counts. Only the content is looked at.
    """

    channels: tuple[str, ...] = (_CONTENT,)

    def __init__(self, *strings: str, finish_reason: str = "stop") -> None:
        if not isinstance(finish_reason, str):
            raise TypeError("a finish reason is a str")
        self.finish_reason = finish_reason
        given = _checked_strings(strings)
        # Once a string has come, a longer one that it begins does not matter.
        self._finder = Literals(
            string
            for string in given
            if not any(string[:length] in given for length in range(1, len(string)))
        )

    def start(self, channel: Channel) -> _Step:
        """Begin with a channel's text."""
        return _Stopping(self._finder, self.finish_reason, channel)


class Split:
    """Moves what stands between two marks from the content to the reasoning; the marks vanish.

    What has begun and does not end is reasoning up to the end of the text; a mark that ends what
    has not begun is text.
    """

    channels: tuple[str, ...] = (_CONTENT,)

    def __init__(self, begin: str, end: str) -> None:
        self._finders = Literals(_checked_strings([begin])), Literals(_checked_strings([end]))

    def start(self, channel: Channel) -> _Step:
        """Begin with a channel's text."""
        return _Splitting(self._finders, channel)


class TextFilter(Protocol):
    """What a rule of the user's own makes for each channel."""

    def feed(self, piece: str, /) -> str:
        """Take a piece that is not empty; return what may leave."""

    def close(self) -> str:
        """End the text; return the rest."""


Rule: TypeAlias = Replace | Stop | Split | Callable[[], TextFilter]
"""A rule of this module, or what makes one of the user's own for each channel."""


def _checked_strings(strings: Iterable[str]) -> set[str]:
    given = list(strings)
    for string in given:
        if not isinstance(string, str):
            raise TypeError(f"a rule looks for a str, not for {type(string).__name__}")
    checked = set(given)
    if not checked or "" in checked:
        raise ValueError("a rule looks for at least one string, and none is empty")
    return checked


def _checked_channels(channels: Iterable[str]) -> tuple[str, ...]:
    if isinstance(channels, str):
        raise TypeError("channels are several names, such as ('content',)")
    checked = tuple(channels)
    for name in checked:
        if name not in _NAMES:
            raise ValueError(f"no channel is called {name!r}: there are {', '.join(_NAMES)}")
    return checked


def _writer(
    finder: BoundedPattern, pattern: re.Pattern[str], replacement: Replacement
) -> Callable[[str, int], str]:
    """Return what writes the replacement of the match that begins at a place in a text."""
    if callable(replacement):
        return lambda text, start: replacement(finder.match(text, start))
    if not isinstance(replacement, str):
        raise TypeError("a replacement is a str, or a function of the match")
    try:
        pattern.sub(replacement, "")
    except (re.error, IndexError) as error:
        raise ValueError(f"the replacement is no template of the pattern: {error}") from error
    return lambda text, start: finder.match(text, start).expand(replacement)


class _Step(ABC):
    """What one rule does to one channel's text."""

    holds: bool = False
    """Whether some of the text is held back."""
    may_add: bool = False
    """Whether the end of the text may add to it, although nothing is held."""
    stopped: str | None = None
    """The finish reason, where the rule has ended the choice."""
    moves_to: Channel | None = None
    """Another channel that some of the text may go to."""

    @abstractmethod
    def feed(self, piece: str) -> list[Piece] | None:
        """Take a piece; return what may leave, or None where the piece leaves as it came."""

    @abstractmethod
    def close(self) -> list[Piece]:
        """End the text; return the rest."""


class _Replacing(_Step):
    def __init__(
        self, finder: Literals | BoundedPattern, write: Callable[[str, int], str], channel: Channel
    ) -> None:
        self._find = finder.find
        self._search = finder.search
        self._looks_back = finder.looks_back
        self._write = write
        self._channel = channel
        self._before = ""  # the character that left last, where it counts
        self._held = ""

    def feed(self, piece: str) -> list[Piece] | None:
        if self.holds:
            text = self._advance(self._before + self._held + piece, complete=False)
            return [(self._channel, text)] if text else []
        before = self._before
        text = before + piece
        head = self._search(text, len(before))
        if head is None:
            if self._looks_back:
                self._before = piece[-1]
            return None
        text = self._advance(text, complete=False, head=head)
        if text == piece:
            return None
        return [(self._channel, text)] if text else []

    def close(self) -> list[Piece]:
        text = self._advance(self._before + self._held, complete=True)
        return [(self._channel, text)] if text else []

    def _advance(self, text: str, *, complete: bool, head: re.Match[str] | None = None) -> str:
        """Return what is decided of what follows `before`, its matches replaced; hold the rest."""
        start = len(self._before)
        begin, end = self._find(text, start, complete, head)
        decided = text[start:begin]
        if end != UNDECIDED:
            parts = [decided]
            while end != UNDECIDED:
                parts.append(self._write(text, begin))
                start = end
                begin, end = self._find(text, start, complete)
                parts.append(text[start:begin])
            decided = "".join(parts)
        self._held = text[begin:]
        self.holds = begin < len(text)
        if self._looks_back:
            self._before = text[begin - 1 : begin]
        return decided


class _Stopping(_Step):
    def __init__(self, finder: Literals, finish_reason: str, channel: Channel) -> None:
        self._finder = finder
        self._search = finder.search
        self._finish_reason = finish_reason
        self._channel = channel
        self._held = ""

    def feed(self, piece: str) -> list[Piece] | None:
        if not self.holds and self._search(piece, 0) is None:
            return None
        return self._advance(self._held + piece, complete=False)

    def close(self) -> list[Piece]:
        return self._advance(self._held, complete=True)

    def _advance(self, text: str, *, complete: bool) -> list[Piece]:
        begin, end = self._finder.find(text, 0, complete)
        if end != UNDECIDED:
            self.stopped = self._finish_reason
        self._held = text[begin:]
        self.holds = bool(self._held)
        return [(self._channel, text[:begin])] if begin else []


class _Splitting(_Step):
    def __init__(self, finders: tuple[Literals, Literals], channel: Channel) -> None:
        self._finders = finders
        self._search = finders[0].search
        self._within = False  # whether the mark that begins was the last
        self._held = ""
        self.moves_to = (_REASONING, channel[1])
        self._channels = (channel, self.moves_to)

    def feed(self, piece: str) -> list[Piece] | None:
        if not (self._within or self.holds) and self._search(piece, 0) is None:
            return None
        return self._advance(self._held + piece, complete=False)

    def close(self) -> list[Piece]:
        return self._advance(self._held, complete=True)

    def _advance(self, text: str, *, complete: bool) -> list[Piece]:
        pieces = []
        start = 0
        while True:
            begin, end = self._finders[self._within].find(text, start, complete)
            if begin > start:
                pieces.append((self._channels[self._within], text[start:begin]))
            if end == UNDECIDED:
                break
            self._within = not self._within
            start = end
        self._held = text[begin:]
        self.holds = bool(self._held)
        return pieces


class _UserStep(_Step):
    may_add = True

    def __init__(self, make: Callable[[], TextFilter], channel: Channel) -> None:
        self._make = make
        self._made: TextFilter | None = None
        self._channel = channel

    def feed(self, piece: str) -> list[Piece] | None:
        if self._made is None:
            self._made = self._make()
        text = self._made.feed(piece)
        if text == piece and not self.holds:
            return None
        # From here on nobody but the rule knows what it holds.
        self.holds = True
        return self._leaving(text)

    def close(self) -> list[Piece]:
        return self._leaving(self._made.close()) if self._made else []

    def _leaving(self, text: str) -> list[Piece]:
        if not isinstance(text, str):
            raise TypeError(f"a rule's feed and close return a str, not {type(text).__name__}")
        return [(self._channel, text)] if text else []


class Rules:
    """Rules in the order in which they apply: what one puts out is what the next one reads.

    A rule of the user's own is a callable without arguments; what it makes for each channel has
    `feed(str) -> str` and `close() -> str`. It reads the content, the reasoning and the refusal, or
    the channels that its attribute `channels` names. Anything else is a `TypeError`.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._given = list(rules)
        self._rules = [_reader(rule) for rule in self._given]
        self.reads_arguments: bool = any(_ARGUMENTS in channels for channels, _ in self._rules)
        """Whether a rule reads the arguments of tool calls."""

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._rules)

    def without_ends(self) -> Rules:
        """Return the rules that hold for any string: a Stop or a Split says what an answer is."""
        return Rules(rule for rule in self._given if not isinstance(rule, (Stop, Split)))

    def start(self) -> Chain:
        """Begin with the texts of a choice."""
        return Chain(self._rules)


_Reader: TypeAlias = tuple[tuple[str, ...], Callable[[Channel], _Step]]


def _reader(rule: Rule) -> _Reader:
    """Return which channels a rule reads, and what begins with one's text."""
    if isinstance(rule, (Replace, Stop, Split)):
        return rule.channels, rule.start
    if not callable(rule):
        raise TypeError(
            "a rule is a Replace, a Stop, a Split, or a callable that makes an object with feed "
            f"and close for each channel, not {type(rule).__name__}"
        )
    return _checked_channels(getattr(rule, "channels", _PROSE)), partial(_UserStep, rule)


class Chain:
    """Applies rules to the texts of one choice."""

    def __init__(self, readers: list[_Reader]) -> None:
        self._readers = readers
        self._last = len(readers) - 1
        # The steps that a channel's text takes, each with the number of its rule.
        self._steps: dict[Channel, list[tuple[int, _Step]]] = {}
        self.stopped: str | None = None
        """The finish reason, once a Stop has ended the choice."""

    def feed(self, channel: Channel, piece: str) -> list[Piece]:
        """Take the next piece of a channel; return what may leave now, in order, none of it empty.

        Where nothing is held and nothing changes, that is the very piece. Where a Stop ends the
        choice, it is also what the other channels had held; from then on it is nothing.
        """
        pieces = self.alter(channel, piece)
        return [(channel, piece)] if pieces is None else pieces

    def alter(self, channel: Channel, piece: str) -> list[Piece] | None:
        """Do the same; None where nothing is held and the piece leaves as it came."""
        if self.stopped is not None or not piece:
            return []
        for number, step in self._steps.get(channel) or self._steps_of(channel):
            pieces = step.feed(piece)
            if pieces is not None:
                if number == self._last and step.stopped is None:
                    return pieces
                leaving: list[Piece] = []
                if not self._send_all(pieces, number, step, leaving):
                    leaving += self.close()
                return leaving
        return None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is held, and the end of the texts would add nothing."""
        return not any(
            step.holds or step.may_add for steps in self._steps.values() for _, step in steps
        )

    def holds(self, channel: Channel) -> bool:
        """Tell whether some of a channel's text is held back, wherever it is to leave."""
        for number, step in self._steps.get(channel, ()):
            if step.holds or (step.moves_to and self._holds_behind(step.moves_to, number)):
                return True
        return False

    def close(self) -> list[Piece]:
        """End the texts; return what was held, the rules applied as at the end of the texts."""
        leaving: list[Piece] = []
        for rule in range(len(self._readers)):
            for steps in list(self._steps.values()):
                for number, step in steps:
                    if number == rule and (step.holds or step.may_add):
                        self._send_all(step.close(), rule, step, leaving)
        self._steps.clear()
        return leaving

    def _steps_of(self, channel: Channel) -> list[tuple[int, _Step]]:
        if channel not in self._steps:
            self._steps[channel] = [
                (number, start(channel))
                for number, (channels, start) in enumerate(self._readers)
                if channel[0] in channels
            ]
        return self._steps[channel]

    def _send(self, channel: Channel, piece: str, after: int, leaving: list[Piece]) -> bool:
        """Send a piece through the rules after one; return False where a Stop ends the choice."""
        for number, step in self._steps_of(channel):
            if number > after:
                pieces = step.feed(piece)
                if pieces is not None:
                    return self._send_all(pieces, number, step, leaving)
        leaving.append((channel, piece))
        return True

    def _send_all(
        self, pieces: list[Piece], number: int, step: _Step, leaving: list[Piece]
    ) -> bool:
        """Send on what a rule's step puts out; what comes after the end of the choice is dropped.

        A later rule that ends the choice does so earlier in the text, so that its reason stays.
        """
        goes_on = step.stopped is None
        if not goes_on:
            self.stopped = step.stopped
            self._drop_content_before(number)
        if number == self._last:
            leaving += pieces
            return goes_on
        for channel, piece in pieces:
            if not self._send(channel, piece, number, leaving):
                return False
        return goes_on

    def _drop_content_before(self, number: int) -> None:
        """Drop what the rules up to a Stop hold of the content: it comes after the string."""
        for channel, steps in self._steps.items():
            if channel[0] == _CONTENT:
                self._steps[channel] = [step for step in steps if step[0] > number]

    def _holds_behind(self, channel: Channel, after: int) -> bool:
        """Tell whether a rule after one holds some of a channel's text."""
        return any(step.holds for number, step in self._steps.get(channel, ()) if number > after)


class Filter:
    """Applies rules to a plain text: the same as for the content of one choice.

    What a Split moves to the reasoning is dropped. `rules` are as for `Rules`.

    >>> visible = Filter([Split("<think>", "</think>")])
    >>> visible.feed("<thi"), visible.feed("nk>Hm.</think>Yes"), visible.close()
    ('', 'Yes', '')
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._chain = Rules(rules).start()

    @property
    def stopped(self) -> bool:
        """Whether a Stop has ended the text."""
        return self._chain.stopped is not None

    def feed(self, piece: str) -> str:
        """Take the next piece; return what may leave now. After a Stop that is nothing."""
        if not isinstance(piece, str):
            raise TypeError(f"a text comes as str, not as {type(piece).__name__}")
        return _content_of(self._chain.feed(_PLAIN, piece))

    def close(self) -> str:
        """End the text; return what was held, the rules applied as at the end of the text."""
        return _content_of(self._chain.close())


_PLAIN: Channel = (_CONTENT, 0)


def _content_of(pieces: list[Piece]) -> str:
    return "".join([piece for channel, piece in pieces if channel == _PLAIN])
