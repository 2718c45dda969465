"""pydantic-ai's own handling of a stream, over the SDK's chunks and over fastchunk's."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic_ai.messages import ModelMessage, ModelRequest
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from fastchunk import sdk
from fastchunk.integrations.openai import chunks
from tests.streams import recorded

from .sdk_clients import Sdk, Wrap, as_is, cut

SDK = Sdk("httpx", openai.OpenAI, openai.AsyncOpenAI)


class Model(OpenAIChatModel):
    """Reads the stream of a request as pydantic-ai does, after something was done to it."""

    wrap: Wrap

    async def _process_streamed_response(self, response: Any, *rest: Any) -> Any:
        return await super()._process_streamed_response(self.wrap(response), *rest)


async def _hear(stream: Path, wrap: Wrap) -> tuple[list[Any], Any]:
    """Return the events that pydantic-ai makes, and its whole response or the error."""
    client = SDK.aconnect(SDK.body(cut(stream.read_bytes())))
    model = Model("m", provider=OpenAIProvider(openai_client=client))
    model.wrap = wrap
    messages: list[ModelMessage] = [ModelRequest.user_text_prompt("Hi")]
    events = []
    try:
        async with model.request_stream(messages, None, ModelRequestParameters()) as answer:
            async for event in answer:
                events.append(event)  # noqa: PERF401
            return events, answer.get()
    except Exception as error:  # noqa: BLE001
        return events, error


def _told(response: Any) -> Any:
    """Return what a response says, without the time at which it was made."""
    if isinstance(response, Exception):
        return type(response), str(response)
    told = {field.name: getattr(response, field.name) for field in dataclasses.fields(response)}
    # pydantic-ai takes over every count in the usage; fastchunk reads those that it knows.
    details = {key: value for key, value in response.usage.details.items() if key in _COUNTS}
    return {
        **told,
        "timestamp": None,
        "usage": dataclasses.replace(response.usage, details=details),
    }


_COUNTS = {*sdk.CompletionUsage.__struct_fields__, *sdk.CompletionTokensDetails.__struct_fields__}


@pytest.mark.filterwarnings("ignore::UserWarning")  # of reasoning that is no text, in both
@pytest.mark.parametrize("stream", recorded(), ids=lambda path: path.stem)
def test_recorded_streams(stream: Path) -> None:
    own, own_answer = asyncio.run(_hear(stream, as_is))
    ours, our_answer = asyncio.run(_hear(stream, chunks))
    assert ours == own
    assert _told(our_answer) == _told(own_answer)
