"""Text rules in the gateway: what its relays are given, and what becomes of whole answers.

In:  the rules, the name of the reasoning, and what to do with what cannot be read.
Out: options for the relay of a stream; the body of an answer with its texts rewritten.
Cost: for an answer that is not streamed, a parse or three and one edit.
"""

from __future__ import annotations

from typing import Any

from fastchunk import Relay
from fastchunk.dialects import dialect_of
from fastchunk.relay import OnInvalid, Reasoning
from fastchunk.rewrite import rewrite_answer, rewrite_strings, rules_for
from fastchunk.text import Rule, Rules, Stop

from ._apis import Api

__all__ = ["Texts"]


class Texts:
    """What a gateway does to the texts that it sends to the clients of an API.

    Raises what `fastchunk.Relay` raises for the same arguments.
    """

    def __init__(
        self, api: Api, rules: list[Rule], reasoning: Reasoning | None, on_invalid: OnInvalid
    ) -> None:
        self._dialect = dialect = dialect_of(api.family)
        self._reasoning = reasoning if dialect.script.rename is not None else None
        asked = {"text": rules, "reasoning": self._reasoning, "on_invalid": on_invalid}
        self.relay_options: dict[str, Any] = {
            name: value for name, value in asked.items() if value not in ([], None, "pass")
        }
        """What a relay is told of it: nothing that was not asked for."""
        self.refusal: str | None = None
        """Why the API cannot be served with these rules; None if it can."""
        self._rules = Rules(rules)
        try:
            rules_for(dialect.script, rules)
        except ValueError as error:
            self.refusal = str(error)
        else:
            # Faults are to be seen when the gateway is made, not when the first stream begins.
            Relay(**api.relay_options, **self.relay_options)
        self.fails_closed: bool = on_invalid != "pass"
        """Whether what cannot be read is withheld."""
        self.can_stop: bool = any(isinstance(rule, Stop) for rule in rules)
        """Whether a rule may end a stream before the upstream does."""

    def __bool__(self) -> bool:
        """Whether anything was asked for."""
        return bool(self.relay_options)

    def rewrite(self, body: bytes, *, is_error: bool) -> bytes:
        """Apply the rules to an answer's texts, and to every string of an error.

        An error is what stands under `error`, or the whole body if `is_error`. Raises
        `InvalidChunk` for what is no JSON object, or has text in a shape that no rule sees.
        """
        if is_error:
            body = rewrite_strings(body, self._rules)
        else:
            answer = rewrite_answer(body, self._rules, self._dialect)
            body = rewrite_strings(answer, self._rules, ("error",))
        rename = self._dialect.script.rename
        if self._reasoning is not None and rename is not None:
            body = rename(body, self._reasoning)
        return body
