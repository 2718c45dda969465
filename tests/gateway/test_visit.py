"""Work that a callback begins and a task ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest

from fastchunk.gateway._visit import Visitor

from .harness import PATIENCE

told: ContextVar[str] = ContextVar("told")


def visit(work: Callable[[], Awaitable[None]], *, cancel: bool = False) -> list[str]:
    """Let a callback begin the work of a task, and the task do the rest; say who did what."""
    log: list[str] = []

    async def task() -> None:
        told.set("by the task")
        visitor, turn = Visitor(), asyncio.get_running_loop().create_future()

        def callback() -> None:
            log.append("callback")
            try:
                turn.set_result(visitor.begin(work()))
            except Exception as error:  # noqa: BLE001
                turn.set_exception(error)
            log.append("visited")

        asyncio.get_running_loop().call_soon(callback)
        rest = await turn
        log.append("all" if rest is None else "rest")
        if rest is not None:
            if cancel:
                own = asyncio.current_task()
                assert own is not None
                asyncio.get_running_loop().call_soon(own.cancel)
            await rest
        log.append(told.get())

    asyncio.run(task())
    return log


def test_what_can_be_done_at_once_is_done_in_the_callback() -> None:
    seen = []

    async def work() -> None:
        seen.append(told.get())

    assert visit(work) == ["callback", "visited", "all", "by the task"]
    assert seen == ["by the task"]


def test_what_is_no_coroutine_can_be_awaited_too() -> None:
    class Work:
        def __init__(self, seconds: float | None) -> None:
            self._seconds = seconds

        def __await__(self) -> Any:
            if self._seconds is not None:
                yield from asyncio.sleep(self._seconds).__await__()

    assert visit(lambda: Work(None)) == ["callback", "visited", "all", "by the task"]
    for seconds in (0, 0.001):  # the first gives way to others, and waits for nothing
        lines = visit(lambda seconds=seconds: Work(seconds))  # type: ignore[misc]
        assert lines == ["callback", "visited", "rest", "by the task"]


def test_the_rest_is_one_with_the_beginning() -> None:
    """Both run in one context and as one task, as time-outs and tracing ask for."""
    ends = []

    async def work() -> None:
        token, task = told.set("by the work"), asyncio.current_task()
        await asyncio.wait_for(asyncio.sleep(0.001), PATIENCE)
        assert asyncio.current_task() is task
        told.reset(token)
        ends.append(told.get())

    assert visit(work) == ["callback", "visited", "rest", "by the task"]
    assert ends == ["by the task"]


def test_what_is_raised_reaches_the_task() -> None:
    async def at_once() -> None:
        raise ZeroDivisionError

    async def later() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    for work in (at_once, later):
        with pytest.raises(ZeroDivisionError):
            visit(work)


def test_a_task_that_is_cancelled_cancels_the_rest() -> None:
    ends = []

    async def work() -> None:
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # it may take its time
            ends.append("cancelled")
            raise

    with pytest.raises(asyncio.CancelledError):
        visit(work, cancel=True)
    assert ends == ["cancelled"]
