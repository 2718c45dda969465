"""The look at all streams."""

from __future__ import annotations

import asyncio

from fastchunk.gateway._failure import Failure
from fastchunk.gateway._watch import Watch


def test_streams_are_looked_at_while_they_run() -> None:
    class Stream:
        looks = 0

        def look(self, now: float) -> None:
            assert now <= asyncio.get_running_loop().time()
            self.looks += 1

        def fail(self, failure: Failure) -> None:
            raise failure

    async def main(watch: Watch, streams: list[Stream]) -> None:
        first, second = streams
        with watch.over(first):
            with watch.over(second):
                assert watch.streams == {first, second}
                while not second.looks:
                    await asyncio.sleep(0.001)
            looks = second.looks
            while first.looks < looks + 2:
                await asyncio.sleep(0.001)
            assert second.looks == looks
        looks = first.looks
        await asyncio.sleep(0.01)
        assert first.looks == looks
        assert not watch.streams

    watch = Watch(0.001)
    for _ in range(2):  # one event loop after the other
        asyncio.run(main(watch, [Stream(), Stream()]))
