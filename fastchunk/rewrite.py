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
from functools import cache, lru_cache
from typing import Any

import msgspec
from msgspec import structs

from .dialect import (
    CONTENT,
    NAMES,
    TEXT_KEYS,
    Dialect,
    Edits,
    Marks,
    Place,
    Script,
    Text,
    Unseen,
    leaves_below,
)
from .edit import edit, pointer, without_duplicates
from .errors import InvalidChunk
from .scan import TEXT, Alike, Path, Table, Tally, is_plain
from .text import Chain, Channel, Piece, Rule, Rules, Split, Stop

__all__ = ["Rewriter", "rewrite_answer", "rewrite_strings", "rules_for"]


_KINDS = frozenset({"type", "code", "object"})
"""The keys of what clients tell an error, an event or an object by: the API's own words."""


def rules_for(script: Script, rules: Iterable[Rule]) -> Rules:
    """Check rules for a family. Raises `ValueError` for one that its events leave no room for."""
    given = list(rules)
    if not given:
        return _NO_RULES
    if script.stop is None and any(isinstance(rule, Stop) for rule in given):
        raise ValueError("Stop is for families whose answers are choices: chat and completions")
    if script.put is None and any(isinstance(rule, Split) for rule in given):
        raise ValueError("Split is for chat, where a choice has a content and a reasoning")
    return Rules(given)


_NO_RULES = Rules(())


@lru_cache(maxsize=16)
def _table_of(paths: tuple[Path, ...]) -> Table:
    return Table(paths)


@cache
def _marked(marks: Marks, with_arguments: bool) -> Table:
    """Build the table of what tells events apart, in which what is learned of them stays."""
    roles = marks.roles(with_arguments=with_arguments)
    return Table(list(roles), list(roles.values()), TEXT_KEYS)


_encode = msgspec.json.Encoder().encode
_MARK = "\0text\0"
_KINDS_OF_EVENTS = NAMES.union(("object", "model", "finish_reason"))


class _Change:
    """What becomes of one event."""

    __slots__ = ("_held", "_values", "data", "edits", "event", "script", "texts")

    def __init__(self, script: Script, data: bytes, event: Any, texts: list[Text]) -> None:
        self.script = script
        self.data = data
        self.event = event
        self.texts = texts
        self.edits: Edits = {}
        """What is changed beside the texts."""
        self._values: dict[Place, str] = {}
        self._held: dict[Place, Hashable] = {}

    def write(self, text: Text, value: str) -> None:
        """Write a text anew."""
        self._values[text.place] = value

    def hold(self, text: Text) -> None:
        """Take note that some of a text is held."""
        self._held[text.place] = text.voice

    def release(self, voice: Hashable) -> None:
        """Take note that nothing of a voice's texts is held any longer."""
        self._held = {place: held for place, held in self._held.items() if held != voice}

    def add(self, voice: Hashable, channel: Channel, piece: str) -> bool:
        """Write a piece behind what the event has on a channel; False if it has no room for it."""
        text = self._find(voice, channel)
        if text is not None:
            self.write(text, self._values.get(text.place, text.value) + piece)
            return True
        near = self._find(voice)
        if near is None or self.script.put is None:
            return False
        room = self.script.put(near, channel, piece)
        for place, value in room.items():
            self.edits[place] = self.edits.get(place, "") + value
        return bool(room)

    def blank_after(self, text: Text) -> None:
        """Withhold what its voice says after a text."""
        for later in self.texts[self.texts.index(text) + 1 :]:
            if later.voice == text.voice:
                self.write(later, "")

    def make(self) -> bytes:
        """Return the event's data as it is then."""
        changes = self.list_changes()
        return edit(self.data, changes) if changes else self.data

    def list_changes(self) -> dict[str, Any]:
        """List what becomes of the event's values, by their pointers."""
        edits = self.edits
        for text in self.texts if self._values or self._held else ():
            value = self._values.get(text.place, text.value)
            if value != text.value:
                edits[text.place] = value
                if text.also is not None:
                    edits[text.also] = value
            if value != text.value or text.place in self._held:
                edits |= self.script.copies(self.event, text)
        # What is below a value that is replaced or dropped is gone with it.
        return {
            pointer(place): value
            for place, value in edits.items()
            if not _is_within(place[:-1], edits)
        }

    def _find(self, voice: Hashable, channel: Channel | None = None) -> Text | None:
        """Find the last text of a voice, or of one of its channels."""
        for text in reversed(self.texts):
            if text.voice == voice and channel in (None, text.channel) and not text.is_whole:
                return text
        return None


class _Plan:
    """What becomes of an event where its text is written anew."""

    __slots__ = ("_changes", "_places", "is_simple")

    def __init__(self, changes: dict[str, Any]) -> None:
        """Take the changes by pointers; the text goes where the mark is."""
        self._changes = changes
        self._places = [place for place, value in changes.items() if value == _MARK]
        self.is_simple = len(changes) == 1
        """Whether nothing is changed but the one text."""

    def edit(self, data: bytes, text: str) -> bytes:
        """Write a text into an event."""
        return edit(data, self._changes | dict.fromkeys(self._places, text))


class _Like:
    """What is known of events that are alike, whichever stream they are of."""

    __slots__ = ("ended", "plans", "text")

    def __init__(self, text: Text | None, ended: list[Hashable]) -> None:
        self.text: Text | None = structs.replace(text, value="") if text else None
        """Their text, for all but its value; None if they have none."""
        self.ended: list[Hashable] = ended
        """The voices whose texts end with such an event."""
        self.plans: dict[Channel, _Plan | None] = {}
        """By the channel that the text is written to; None where there is no room for it."""

    def __bool__(self) -> bool:
        """Whether anything is done to them."""
        return self.text is not None or bool(self.ended)


def _goes_on(text: Text | None, ended: list[Hashable]) -> bool:
    """Tell whether an event's text, if it has one, is a piece of one that goes on after it."""
    return text is None or not (text.is_whole or text.voice in ended)


def _is_within(place: Place, edits: Edits) -> bool:
    """Tell whether a place is one of those that are edited, or below one."""
    return any(place[:length] in edits for length in range(1, len(place) + 1))


class Rewriter:
    """Applies rules to the events of one stream."""

    def __init__(self, rules: Rules, dialect: Dialect, tally: Tally) -> None:
        self.made: list[tuple[str, bytes]] = []
        """The events that are to leave before the one that was rewritten last: type and data."""
        self.stopped: dict[Any, str] = {}
        """The voices that a rule has stopped, each with its reason."""
        self._rules = rules
        self._decode = dialect.decode
        self._notes = dialect.notes
        self._script = script = dialect.script
        self._table = _table_of(script.paths)
        marked = _marked(script.marks, rules.reads_arguments)
        self.alike: Alike = Alike(marked, tally, _KINDS_OF_EVENTS, script.passing)
        """What recognizes events that need not be decoded."""
        self._chains: dict[Hashable, Chain] = {}
        # What events are made like: of each channel the last one of which something was held.
        self._held: dict[Hashable, dict[Channel, tuple[bytes, Text]]] = {}

    def rewrite(
        self, data: bytes, event: Any, *, is_last: bool = False, is_usual: bool = False
    ) -> bytes | None:
        """Return an event's data as the rules leave it; None if all of it is withheld.

        With the last event every text ends. Those that are like a usual one need not be decoded.
        Raises `Unseen` where the event has text in a shape that no rule sees, before a rule has
        seen any of it.
        """
        script = self._script
        read, listed = self._read(data, event)
        texts = [text for text in listed if text.value]
        ended = script.ended(event)
        alike = self.alike
        if is_usual and read is data and alike.asks and (texts or not alike.only_texts):
            self._learn(data, event, listed, ended)
        if not (texts or ended or is_last or self.stopped):
            return read
        change = _Change(script, read, event, texts)
        if self.stopped and script.silence is not None:
            silenced = script.silence(event, self.stopped)
            if silenced is None:
                return None
            change.edits |= silenced
            change.texts = [text for text in texts if not _is_within(text.place, silenced)]
        for text in change.texts:
            self._take(text, change)
        for voice in list(self._chains) if is_last else ended:
            self._end(voice, change)
        return change.make()

    def rewrite_alike(self, data: bytes, like: _Like, value: str) -> bytes | None:
        """Do the same with an event that is like one before; None where it is to be decoded."""
        if self.stopped or (like.ended and not self._end_idle(like.ended)):
            return None
        text = like.text
        if text is not None and value:
            chain = self._chains.get(text.voice) or self._start(text, data)
            pieces = chain.alter(text.channel, value)
            if pieces is not None:
                return self._rewrite_alike(data, like, value, pieces)
        return data

    def _end_idle(self, voices: list[Hashable]) -> bool:
        """End voices of which nothing is held; do nothing if there is another one among them."""
        chains = self._chains
        ended = [voice for voice in voices if voice in chains]
        if not all(chains[voice].is_idle for voice in ended):
            return False
        for voice in ended:
            del chains[voice], self._held[voice]
        return True

    def _rewrite_alike(self, data: bytes, like: _Like, value: str, pieces: list[Piece]) -> bytes:
        """Write what leaves of the text of an event that is like one before."""
        text: Any = like.text
        chain, channel = self._chains[text.voice], text.channel
        if len(pieces) < 2 and chain.stopped is None:
            to, piece = pieces[0] if pieces else (channel, "")
            if to not in like.plans:
                like.plans[to] = self._plan(data, to)
            plan = like.plans[to]
            if plan is not None:
                if chain.holds(channel):
                    self._held[text.voice][channel] = data, text
                elif to == channel and piece == value:
                    return data
                return self._rewrite_by(plan, data, piece)
        change = self._change_of(data)
        self._give(change.texts[0], pieces, change)
        return change.make()

    def _rewrite_by(self, plan: _Plan, data: bytes, piece: str) -> bytes:
        """Write the text of an event that is like one before."""
        try:
            rewritten = self.alike.rewrite(data, _encode(piece), plan)
        except UnicodeEncodeError:
            rewritten = None  # `edit` says of what
        return plan.edit(data, piece) if rewritten is None else rewritten

    def _plan(self, data: bytes, to: Channel) -> _Plan | None:
        """Tell how an event's text is written to a channel; None if there is no room for it."""
        change = self._change_of(data)
        text = change.texts[0]
        change.write(text, "")
        if not change.add(text.voice, to, _MARK):
            return None
        return _Plan(change.list_changes())

    def _change_of(self, data: bytes) -> _Change:
        """Begin to change an event that is like one before."""
        event = self._decode(data)
        texts = self._script.texts(event, self._rules.reads_arguments)
        return _Change(self._script, data, event, [text for text in texts if text.value])

    def _learn(self, data: bytes, event: Any, texts: list[Text], ended: list[Hashable]) -> None:
        """Take note of what an event says, so that those that are alike need not be decoded."""
        said = Tally()
        if self._notes is None:
            said.note(event)
        elif self._notes[type(event)] is not None:
            return  # such an event comes once in a stream
        found = [text for text in texts if text.value]
        text = found[0] if found else None
        if len(found) > 1 or not all(map(self._is_marked, texts)) or not _goes_on(text, ended):
            self.alike.learn(None, said, data, "", ())
            return
        value = text.value if text else ""
        copies = self._script.copies(event, text) if text else ()
        varying = {str(place[-1]) for place in copies}
        self.alike.learn(_Like(text, ended), said, data, value, varying)

    def _is_marked(self, text: Text) -> bool:
        """Tell whether all that stands in a text's place, and in its parts, tells events apart."""
        roles = self._script.marks.roles(with_arguments=self._rules.reads_arguments)
        steps = tuple(None if isinstance(step, int) else step for step in text.place)
        return any(roles.get(steps[:length]) == TEXT for length in range(1, len(steps) + 1))

    def rewrite_errors(self, data: bytes) -> bytes:
        """Return a chunk's data with the strings of its errors as the rules leave them."""
        for place in self._script.errors:
            data = rewrite_strings(data, self._rules, place)
        return data

    def rewrite_other(self, data: bytes) -> bytes:
        """Return the data of an event that is no chunk, its strings as the rules leave them."""
        try:
            return rewrite_strings(data, self._rules)
        except InvalidChunk:
            return data  # which counts as invalid

    def rewrite_answer(self, data: bytes, answer: Any) -> bytes:
        """Return an answer's data, in which each text is all of one, as the rules leave it."""
        found = self._script.answer_texts(answer, self._rules.reads_arguments)
        texts = [text for text in found if text.value]
        change = _Change(self._script, data, answer, texts)
        for text in texts:
            reason = self._take(text, change)
            if reason is not None:
                self._stop(text.voice, reason, change)
        for voice in list(self._chains):
            self._end(voice, change)
        return change.make()

    def end(self) -> None:
        """End every text: what is held leaves in events that are made."""
        for voice in list(self._chains):
            self._end(voice, _Change(self._script, b"", None, []))

    def _read(self, data: bytes, event: Any) -> tuple[bytes, list[Text]]:
        """Return an event's data without duplicate keys, and its texts as they are listed."""
        try:
            texts = self._script.texts(event, self._rules.reads_arguments)
            found = {pointer(text.place): text.value for text in texts if text.value}
            has_parts = len(found) < len(texts)
            if not is_plain(data, None if has_parts else self._table):
                # One client may read the first of two members of one name, another the last.
                data = without_duplicates(data)
                # If it can be edited at all is to be known before a rule has read it.
                edit(data, found)
        except (InvalidChunk, msgspec.DecodeError, RecursionError) as error:
            raise Unseen(str(error)) from error
        return data, texts

    def _take(self, text: Text, change: _Change) -> str | None:
        """Give a text to its rules, and write what leaves of it; return why a whole one stopped."""
        if text.is_whole:
            return _rewrite_whole(self._rules, text, change)
        voice, channel, value = text.voice, text.channel, text.value
        chain = self._chains.get(voice)
        if chain is None:
            if voice in self.stopped:
                return None  # in this very event, so that it is blank
            chain = self._start(text, change.data)
        pieces = chain.alter(channel, value)
        if pieces is not None:
            self._give(text, pieces, change)
        return None

    def _start(self, text: Text, data: bytes) -> Chain:
        """Begin with a voice's texts, of which this is the first."""
        chain = self._chains[text.voice] = self._rules.start()
        self._held[text.voice] = {text.channel: (data, text)}
        return chain

    def _give(self, text: Text, pieces: list[Piece], change: _Change) -> None:
        """Write what leaves of a text when its rules have read it."""
        voice, channel = text.voice, text.channel
        chain = self._chains[voice]
        if chain.stopped is not None:
            change.blank_after(text)
        if chain.holds(channel):
            self._held[voice][channel] = change.data, text
            change.hold(text)
        _write_own(text, pieces, change)
        self._add(voice, [piece for piece in pieces if piece[0] != channel], change)
        if chain.stopped is not None:
            change.release(voice)
            del self._chains[voice], self._held[voice]
            self._stop(voice, chain.stopped, change)

    def _stop(self, voice: Hashable, reason: str, change: _Change) -> bool:
        """Write a voice's finish reason into an event; False if it says nothing there."""
        assert self._script.stop is not None  # noqa: S101
        edits = self._script.stop(change.event, voice, reason)
        if edits:
            self.alike.passes = False
            self.stopped[voice] = reason
            change.edits |= edits
        return bool(edits)

    def _end(self, voice: Hashable, change: _Change) -> None:
        """Let everything leave that is held of a voice, in this event or before it."""
        chain = self._chains.pop(voice, None)
        if chain is None:
            return
        self._add(voice, chain.close(), change)
        change.release(voice)
        if chain.stopped is not None and not self._stop(voice, chain.stopped, change):
            self._make_stop(voice, chain.stopped)
        del self._held[voice]

    def _make_stop(self, voice: Hashable, reason: str) -> None:
        """Make an event with a finish reason: the text has ended, and its end was a Stop's."""
        data, like = next(iter(self._held[voice].values()))
        kind, made = self._script.make(data, like, like.channel, "")
        change = _Change(self._script, made, msgspec.json.decode(made), [])
        if self._stop(voice, reason, change):
            self.made.append((kind, change.make()))

    def _add(self, voice: Hashable, pieces: list[Piece], change: _Change) -> None:
        """Write pieces behind what an event has on their channels, or into one that is made."""
        for channel, piece in _joined(pieces).items():
            if not change.add(voice, channel, piece):
                held = self._held[voice]
                data, like = held.get(channel) or next(iter(held.values()))
                self.made.append(self._script.make(data, like, channel, piece))


def _write_own(text: Text, pieces: list[Piece], change: _Change) -> None:
    """Write what leaves of a text on its own channel."""
    own = "".join([piece for channel, piece in pieces if channel == text.channel])
    if own != text.value:
        change.write(text, own)


def _rewrite_whole(rules: Rules, text: Text, change: _Change) -> str | None:
    """Apply rules to all of a text at once; return the reason if one has stopped it."""
    chain = rules.start()
    pieces = chain.feed(text.channel, text.value)
    stopped = chain.stopped
    pieces += chain.close()
    _write_own(text, pieces, change)
    return stopped


def _joined(pieces: Iterable[Piece]) -> dict[Channel, str]:
    found: dict[Channel, str] = {}
    for channel, piece in pieces:
        found[channel] = found.get(channel, "") + piece
    return found


def rewrite_strings(data: bytes, rules: Rules, place: Place = ()) -> bytes:
    """Apply rules to every string of an object, or of what is at a place in it, but for its kinds.

    A Stop or a Split changes nothing: what is no answer has no end. Raises `InvalidChunk` for what
    is no JSON object.
    """
    value: Any = _parse_object(data)
    data = without_duplicates(data)
    for step in place:
        value = value.get(step) if isinstance(value, dict) else None
    replacing, changes = rules.without_ends(), {}
    for text in leaves_below(None, CONTENT, value, place, but=_KINDS):
        chain = replacing.start()
        left = _joined([*chain.feed(CONTENT, text.value), *chain.close()]).get(CONTENT, "")
        if left != text.value:
            changes[pointer(text.place)] = left
    return edit(data, changes) if changes else data


def rewrite_answer(data: bytes, rules: Rules, dialect: Dialect) -> bytes:
    """Apply rules to the texts of an answer that is not streamed.

    Raises `InvalidChunk` for what is no JSON object, or has text in a shape that no rule sees.
    """
    answer = _parse_object(data)
    try:
        return Rewriter(rules, dialect, Tally()).rewrite_answer(without_duplicates(data), answer)
    except Unseen as error:
        raise InvalidChunk.single("text_unseen", (), str(error), data) from error


def _parse_object(data: bytes) -> dict[str, Any]:
    try:
        parsed = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidChunk.single("json_invalid", (), f"no JSON document: {error}", data) from error
    if not isinstance(parsed, dict):
        raise InvalidChunk.single("not_an_object", (), "the document is no object", data)
    return parsed
