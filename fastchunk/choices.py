"""What a stream of choices adds up to: the part that chat and legacy completions have in common.

Servers disagree on what a chunk repeats, so an id, a time and a model are taken once, from the
first chunks that say something.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from msgspec import structs

from .wire import UsageInfo

__all__ = ["ChoicesAnswer"]

A = TypeVar("A")


class ChoicesAnswer(Generic[A]):
    """Puts the chunks of one stream together. One object, one stream, one thread."""

    def __init__(self, answer: A, new_choice: Callable[[], Any]) -> None:
        """Take an answer without choices, and what makes one that chunks can be added to."""
        self._answer: Any = answer
        self._new_choice = new_choice
        self._headed = False  # whether id, created and model are known
        self._choices: dict[int, Any] = {}

    def add(self, chunk: Any) -> None:
        """Add the next chunk. Only its usage and the contents of its logprobs are kept."""
        if not self._headed:
            self._add_heading(chunk)
        for position, choice in enumerate(chunk.choices or ()):
            index = choice.index_or(position)
            known = self._choices.get(index)
            if known is None:
                known = self._choices[index] = self._new_choice()
            known.add(choice)
        answer = self._answer
        if chunk.usage and isinstance(chunk.usage, UsageInfo):
            answer.usage = chunk.usage
        if chunk.system_fingerprint:
            answer.system_fingerprint = chunk.system_fingerprint
        if chunk.service_tier:
            answer.service_tier = chunk.service_tier

    @property
    def finished(self) -> bool:
        """Whether every choice that was seen has its finish reason; False before the first one."""
        choices = self._choices.values()
        return bool(choices) and all(choice.finish_reason is not None for choice in choices)

    def build(self) -> A:
        """Build the answer so far; what is added later does not change it.

        Its usage is the chunk's own object, not a copy.
        """
        choices = [choice.build(index) for index, choice in sorted(self._choices.items())]
        answer: A = structs.replace(self._answer, choices=choices)
        return answer

    def _add_heading(self, chunk: Any) -> None:
        """Take the first id, time and model that say something; Azure's first ones are empty."""
        answer = self._answer
        answer.id = answer.id or chunk.id
        answer.created = answer.created or chunk.created
        answer.model = answer.model or chunk.model
        self._headed = bool(answer.id and answer.created and answer.model)
