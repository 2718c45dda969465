r"""Patterns: finds what a regular expression matches in a text that is not complete yet.

In:  a compiled pattern of bounded width, once; then a text, and where in it to begin.
Out: the next match that no further text can change, or from where on more text must decide.
Cost: one search by `re` in the text that is not settled; what `re` costs.

`re` tries the ways to match in a fixed order, and the first that succeeds counts. So a pattern is
rewritten: wherever it goes on to another character, it may as well meet the end of the text, and
then succeeds on the spot, having set a mark. If the first success has no mark, no way that was
tried before it came as far as the end, and no further text changes it; if it has one, what comes
next decides. For `ab|c`, with `>` for the end and the mark, that is `a(?:b|>)|c`.

    >>> pattern = BoundedPattern(re.compile(r"\d{2,4}"))
    >>> pattern.find("no. 12345", 0), pattern.find("no. 123", 0), pattern.find("no. 12.", 0)
    ((4, 8), (4, -1), (4, 6))

The rewriting takes the parse tree that the standard library makes of a pattern, and gives it back
to its compiler: every character, flag and boundary keeps `re`'s own meaning. The two modules are
not public; this is the one place that uses them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

from .literals import UNDECIDED

__all__ = ["BoundedPattern"]

_parser: Any = import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")
_compiler: Any = import_module("re._compiler" if sys.version_info >= (3, 11) else "sre_compile")
_codes: Any = import_module("re._constants" if sys.version_info >= (3, 11) else "sre_constants")

_CHARACTERS = frozenset({_codes.LITERAL, _codes.NOT_LITERAL, _codes.ANY, _codes.IN})
_REPEATS = frozenset({_codes.MAX_REPEAT, _codes.MIN_REPEAT})
_BOUNDARIES = frozenset({_codes.AT_BOUNDARY, _codes.AT_NON_BOUNDARY})
_ENDS = frozenset({_codes.AT_END, _codes.AT_END_STRING})
_LOOK_AROUND = frozenset({_codes.ASSERT, _codes.ASSERT_NOT})
_REFERENCE = (
    "the pattern refers back to a group, and what that will have matched is not known while the "
    "text grows: write out what the group may match"
)
_REFUSED = {_codes.GROUPREF: _REFERENCE, _codes.GROUPREF_EXISTS: _REFERENCE}
_REFUSED_OTHERWISE = (
    "the pattern has a part that cannot be followed while the text grows: do without atomic groups "
    "and possessive repetition"
)
# From Python 3.11 on, a repetition that gives nothing back: what was repeated up to the end is all.
_WITHOUT_RETURN = getattr(_codes, "POSSESSIVE_REPEAT", _codes.MAX_REPEAT)
_MARK = 1  # the only group of a rewritten pattern


class BoundedPattern:
    r"""A pattern to look for.

    Raises `ValueError` for one whose matches cannot be told while the text still grows. Where a
    boundary or a look-ahead contradicts what follows it, as in `a\bb`, that is found out only when
    the next character is there.
    """

    def __init__(self, pattern: re.Pattern[str], longest: int | None = None) -> None:
        if not isinstance(pattern.pattern, str):
            raise ValueError("a rule reads text: compile the pattern from a str, not from bytes")
        rewriting = _Rewriting(pattern)
        if longest is not None and longest < rewriting.longest:
            raise ValueError(
                f"longest={longest}, but the pattern can match {rewriting.longest} characters"
            )
        self._whole = pattern
        self.looks_back: bool = rewriting.looks_back
        """Whether the character before the text counts."""
        self.search: Callable[..., re.Match[str] | None] = rewriting.compile().search
        """Finds the first way to match or to meet the end; None is sure."""

    def find(
        self, text: str, start: int, complete: bool = False, head: re.Match[str] | None = None
    ) -> tuple[int, int]:
        """Return where the next match begins and ends, looking from `start`.

        The end is UNDECIDED where the text must go on to tell whether there is a match; a begin at
        the end of the text means that there is none. In a complete text nothing is undecided.
        `head` is what `search` has found from there, if it was asked already.
        """
        match = self._whole.search(text, start) if complete else head or self.search(text, start)
        if match is None:
            return len(text), UNDECIDED
        if not complete and match.lastindex == _MARK:
            return match.start(), UNDECIDED
        return match.span()

    def match(self, text: str, start: int) -> re.Match[str]:
        """Return the match that was found to begin at `start`, with the pattern's own groups."""
        return cast(re.Match[str], self._whole.match(text, start))


class _Rewriting:
    """Rewrites one pattern's parse tree, and refuses what must not be in it."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        tree = _parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG)
        self.looks_back = False
        self._state = _parser.State()
        self._state.flags = tree.state.flags
        self._state.opengroup(None)
        end = self._tree([(_codes.AT, _codes.AT_END_STRING)])
        self._state.closegroup(_MARK, end)
        self._end = self._tree([(_codes.SUBPATTERN, (_MARK, 0, 0, end))])
        self._rewritten = self._rewrite(tree, opening=True)
        shortest, self.longest = map(int, tree.getwidth())
        if shortest == 0:
            raise ValueError(
                "the pattern may match nothing, which would be a match everywhere: "
                "let it match at least one character"
            )

    def compile(self) -> re.Pattern[str]:
        compiled: re.Pattern[str] = _compiler.compile(self._rewritten)
        return compiled

    def _tree(self, nodes: list[Any]) -> Any:
        return _parser.SubPattern(self._state, nodes)

    def _either(self, *trees: Any) -> tuple[Any, Any]:
        return _codes.BRANCH, (None, list(trees))

    def _rewrite(self, tree: Any, *, opening: bool) -> Any:
        """Rewrite a sequence; `opening` says that nothing of the match can stand before it.

        There the end need not be met: where nothing has matched, there is nothing to hold.
        """
        nodes: list[Any] = []
        for code, argument in tree:
            nodes += self._rewrite_node(code, argument, opening)
            opening = opening and not self._tree([(code, argument)]).getwidth()[1]
        return self._tree(nodes)

    def _rewrite_node(self, code: Any, argument: Any, opening: bool) -> list[Any]:
        if code in _CHARACTERS:
            node = (code, argument)
            return [node] if opening else [self._either(self._tree([node]), self._end)]
        if code is _codes.BRANCH:
            branches = [self._rewrite(branch, opening=opening) for branch in argument[1]]
            return [self._either(*branches)]
        if code is _codes.SUBPATTERN:
            _, added, removed, tree = argument
            return [(code, (None, added, removed, self._rewrite(tree, opening=opening)))]
        if code in _REPEATS:
            return self._rewrite_repeat(code, *argument, opening=opening)
        if code is _codes.AT or code in _LOOK_AROUND:
            return self._rewrite_assertion(code, argument, opening)
        raise ValueError(_REFUSED.get(code, _REFUSED_OTHERWISE))

    def _rewrite_repeat(
        self, code: Any, least: int, most: int, tree: Any, *, opening: bool
    ) -> list[Any]:
        if most == _codes.MAXREPEAT:
            raise ValueError(
                "the pattern repeats something without a bound, so that all of a text might have "
                "to be held back: give each repetition one, such as {1,64} for +"
            )
        if most == 0:
            return []
        if opening and least:
            # Where a pattern begins with a plain character, `re` searches for that first.
            first = self._rewrite(tree, opening=True)
            rest = self._rewrite_repeat(code, least - 1, most - 1, tree, opening=False)
            return [*first, *rest]
        if code is _codes.MIN_REPEAT or not _is_character(tree):
            return [(code, (least, most, self._rewrite(tree, opening=False)))]
        # The same as one by one, but `re` repeats a plain character much faster: greedy, it meets
        # the end first if nothing else is left, and otherwise not at all.
        to_the_end = (_WITHOUT_RETURN, (0, most - 1, tree))
        return [
            self._either(
                self._tree([to_the_end, *self._end]), self._tree([(code, (least, most, tree))])
            )
        ]

    def _rewrite_assertion(self, code: Any, argument: Any, opening: bool) -> list[Any]:
        node = (code, argument)
        if code is _codes.AT and argument in _ENDS:
            raise ValueError(
                "the pattern asks for the end of the text, which is known only when it is there: "
                r"for the end of a line write (?=\n), for the end of a word \b"
            )
        if code in _LOOK_AROUND and not _is_character(argument[1]):
            raise ValueError(
                "the pattern looks around for something that is not exactly one character, and "
                "the text on either side may have left or not be there: look for one character, "
                r"such as (?<!\d) and (?!\d)"
            )
        ahead = argument in _BOUNDARIES if code is _codes.AT else argument[0] > 0
        self.looks_back = self.looks_back or code is _codes.AT or not ahead
        if opening:
            return [node]
        if ahead:
            return [self._either(self._end, self._tree([node]))]
        # What stands before the end is known, but not what stands before a character yet to come.
        return [(_codes.GROUPREF_EXISTS, (_MARK, self._tree([]), self._tree([node])))]


def _is_character(tree: Any) -> bool:
    return len(tree) == 1 and tree[0][0] in _CHARACTERS
