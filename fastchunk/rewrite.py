"""Applies text rules to the events of a stream, and to whole answers.

In:  an event's data, and the Struct that it was decoded to.
Out: its data with the texts that the rules leave, and the events that have to be made before it.
Cost: a look at every text, and an edit of those events alone in which a text is changed or held.

What a rule holds back leaves as soon as it can be no part of a match: with the next text of its
channel; where the channel ends, before the finish reason; before an error; or at the stream's end.
If the event that lets it leave has no text on its channel, one is made that has nothing else, like
the last one that had. A text ends with a finish reason or an error: what comes then is another one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import lru_cache
from typing import Any

import msgspec

from .dialect import Dialect, Edits, Place, Script, Text, Unseen
from .edit import edit, pointer, without_duplicates
from .errors import InvalidChunk
from .scan import Path, Table, is_plain
from .text import Chain, Channel, Piece, Rule, Rules, Split, Stop

__all__ = ["Rewriter", "rewrite_answer", "rules_for"]


def rules_for(script: Script, rules: Iterable[Rule]) -> Rules:
    """Check rules for a family. Raises `ValueError` for one that its events leave no room for."""
    given = list(rules)
    if script.stop is None and any(isinstance(rule, Stop) for rule in given):
        raise ValueError("Stop is for families whose answers are choices: chat and completions")
    if script.put is None and any(isinstance(rule, Split) for rule in given):
        raise ValueError("Split is for chat, where a choice has a content and a reasoning")
    return Rules(given)


@lru_cache(maxsize=16)
def _table_of(paths: tuple[Path, ...]) -> Table:
    return Table(paths)


class _Change:
    """What becomes of one event."""

    __slots__ = ("edits", "event", "texts")

    def __init__(self, event: Any, texts: list[Text]) -> None:
        self.event = event
        self.texts = texts
        self.edits: Edits = {}

    def write(self, text: Text, value: str) -> None:
        """Write a text anew, everywhere it stands."""
        self.edits[text.place] = value
        if text.also is not None:
            self.edits[text.also] = value

    def read(self, place: Place) -> str:
        """Return the text at a place as it leaves."""
        if place in self.edits:
            return str(self.edits[place])
        return next((text.value for text in self.texts if text.place == place), "")

    def find(self, voice: Hashable, channel: Channel) -> Text | None:
        """Find the last piece of a channel's text in this event."""
        for text in reversed(self.texts):
            if text.channel == channel and text.voice == voice and not text.is_whole:
                return text
        return None

    def put(self, script: Script, text: Text, pieces: list[Piece]) -> None:
        """Write text on other channels than its own, behind what is there."""
        for channel, piece in pieces:
            if channel != text.channel and script.put is not None:
                for place, value in script.put(text, channel, piece).items():
                    self.edits[place] = self.read(place) + value


class Rewriter:
    """Applies rules to the events of one stream."""

    def __init__(self, rules: Rules, script: Script) -> None:
        self.made: list[tuple[str, bytes]] = []
        """The events that are to leave before the one that was rewritten last: type and data."""
        self.stopped: dict[Any, str] = {}
        """The voices that a rule has stopped, each with its reason."""
        self._rules = rules
        self._script = script
        self._table = _table_of(script.paths)
        self._chains: dict[Hashable, Chain] = {}
        self._held: dict[Hashable, dict[Channel, tuple[bytes, Text]]] = {}

    def rewrite(self, data: bytes, event: Any) -> bytes | None:
        """Return an event's data as the rules leave it; None if all of it is withheld.

        Raises `Unseen` where the event has text in a shape that no rule sees.
        """
        script = self._script
        if not is_plain(data, self._table):
            # One client may read the first of two members that have one name, another the last.
            data = without_duplicates(data)
        change = _Change(event, script.texts(event, self._rules.reads_arguments))
        if self.stopped and script.silence is not None:
            silenced = script.silence(event, self.stopped)
            if silenced is None:
                return None
            change.edits |= silenced
        for text in change.texts:
            self._take(data, text, change)
        for voice in script.ended(event):
            self._end(voice, change)
        if not change.edits:
            return data
        return edit(data, {pointer(place): value for place, value in change.edits.items()})

    def end(self) -> None:
        """End every text: what is held leaves in events that are made."""
        for voice in list(self._chains):
            self._end(voice, _Change(None, []))

    def _take(self, data: bytes, text: Text, change: _Change) -> None:
        """Give a text to its rules, and write what leaves of it."""
        voice, channel, value = text.voice, text.channel, text.value
        if text.is_whole:
            _rewrite_whole(self._rules, self._script, text, change)
            return
        chain = self._chains.get(voice)
        if chain is None:
            if voice in self.stopped:
                return
            chain = self._chains[voice] = self._rules.start()
        pieces = chain.feed(channel, value)
        if len(pieces) == 1 and pieces[0][1] is value and pieces[0][0] is channel:
            return  # nothing is held either
        if chain.holds(channel):
            self._held.setdefault(voice, {})[channel] = data, text
            _drop_copies(self._script, text, change)
        _write(self._script, text, pieces, change)
        if chain.stopped is not None:
            self._stop(voice, chain.stopped, change)

    def _stop(self, voice: Hashable, reason: str, change: _Change) -> None:
        self.stopped[voice] = reason
        self._end(voice, change)
        assert self._script.stop is not None  # noqa: S101
        change.edits |= self._script.stop(change.event, voice, reason)

    def _end(self, voice: Hashable, change: _Change) -> None:
        """Let everything leave that is held of a voice, in this event or before it."""
        chain = self._chains.pop(voice, None)
        if chain is None:
            return
        held = self._held.pop(voice, {})
        for channel, piece in _joined(chain.close()).items():
            text = change.find(voice, channel)
            if text is not None:
                change.write(text, change.read(text.place) + piece)
                _drop_copies(self._script, text, change)
            else:
                data, like = held.get(channel) or next(iter(held.values()))
                self.made.append(self._script.make(data, like, channel, piece))


def _write(script: Script, text: Text, pieces: list[Piece], change: _Change) -> None:
    """Write what leaves of a text: on its own channel, and on others."""
    own = "".join([piece for channel, piece in pieces if channel == text.channel])
    if own != text.value:
        change.write(text, own)
        _drop_copies(script, text, change)
    change.put(script, text, pieces)


def _drop_copies(script: Script, text: Text, change: _Change) -> None:
    change.edits |= script.copies(change.event, text)


def _rewrite_whole(rules: Rules, script: Script, text: Text, change: _Change) -> str | None:
    """Apply rules to all of a text at once; return the reason if one has stopped it."""
    chain = rules.start()
    pieces = chain.feed(text.channel, text.value)
    stopped = chain.stopped
    pieces += chain.close()
    _write(script, text, list(_joined(pieces).items()), change)
    return stopped


def _joined(pieces: Iterable[Piece]) -> dict[Channel, str]:
    found: dict[Channel, str] = {}
    for channel, piece in pieces:
        found[channel] = found.get(channel, "") + piece
    return found


def rewrite_answer(data: bytes, rules: Rules, dialect: Dialect) -> bytes:
    """Apply rules to the texts of an answer that is not streamed.

    Raises `InvalidChunk` for what is no JSON object, or has text in a shape that no rule sees.
    """
    script = dialect.script
    try:
        answer = msgspec.json.decode(data)
        if not isinstance(answer, dict):
            raise InvalidChunk.single("not_an_answer", (), "the answer is no JSON object", data)
        data = without_duplicates(data)
        change = _Change(answer, script.answer_texts(answer, rules.reads_arguments))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidChunk.single("json_invalid", (), f"no JSON document: {error}", data) from error
    except Unseen as error:
        raise InvalidChunk.single("text_unseen", (), str(error), data) from error
    for text in change.texts:
        reason = _rewrite_whole(rules, script, text, change)
        if reason is not None and script.stop is not None:
            change.edits |= script.stop(answer, text.voice, reason)
    if not change.edits:
        return data
    return edit(data, {pointer(place): value for place, value in change.edits.items()})
