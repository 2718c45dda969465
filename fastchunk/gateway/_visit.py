"""Work of a task, done in a callback of the event loop while the task waits.

In:  an awaitable, such as what ASGI's `send` returns.
Out: None, if all of it could be done at once; else the rest, for the task to await.
Cost: some function calls; to wake a task and let it run costs several times as much.

To what is awaited there is no difference: it runs as a part of the task, whose place it takes by
the functions that asyncio documents for those who extend it; and in one context from its beginning
to its end, a copy of the task's.
"""

from __future__ import annotations

import asyncio
import contextvars
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Awaitable, Coroutine, Generator
from types import CoroutineType
from typing import Any, cast

__all__ = ["Visitor"]


class Visitor:
    """Does in callbacks what is the work of the task that has made it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._context = contextvars.copy_context()

    def begin(self, work: Awaitable[None]) -> Awaitable[None] | None:
        """Do what can be done at once; return the rest, which the task has to await.

        Raises what the work raises. The task must be waiting for something else.
        """
        steps = work if type(work) is CoroutineType else _await(work)
        _enter_task(self._loop, self._task)
        try:
            waits_for = self._context.run(steps.send, None)
        except StopIteration:
            return None
        finally:
            _leave_task(self._loop, self._task)
        return _Rest(steps, waits_for, self._context)


async def _await(work: Awaitable[None]) -> None:
    await work


class _Rest:
    """What is left of a coroutine that waits for something."""

    def __init__(
        self, steps: Coroutine[Any, Any, None], waits_for: Any, context: contextvars.Context
    ) -> None:
        self._steps = steps
        self._waits_for = waits_for
        self._context = context

    def __await__(self) -> Generator[Any, Any, None]:
        """Go on with it."""
        steps, waits_for, run = self._steps, self._waits_for, self._context.run
        try:
            while True:
                try:
                    yield waits_for
                except BaseException as error:  # noqa: BLE001, PERF203
                    waits_for = run(steps.throw, error)
                else:
                    waits_for = run(steps.send, None)
        except StopIteration:
            return
