"""Ray Serve's own LLM code, with the mirror's chunks in place of its Pydantic ones.

In:  a process in which the `LLMServer` or the `LLMRouter` of Ray 2.46.0 runs.
Out: the same streamed chat completions, byte for byte.
Cost: a third of the CPU time of Ray's own code for a text delta, a fifth for one with logprobs,
from the engine's response in the server to the event in the router, pickle between them included.

A server builds the chunks, Ray pickles each of them to a router, and the router dumps and frames
it. Both kinds of replica call `install()`, each in its own process and before it serves;
`docs/where-it-fits.md` has an application whose replicas do. Whoever else receives a server's
chunks needs fastchunk to unpickle them, but no `install()`.
"""

from __future__ import annotations

import hashlib
import inspect
from functools import update_wrapper
from operator import attrgetter
from types import CodeType, FunctionType, ModuleType
from typing import Any

from fastchunk import models

try:
    import ray
    from ray.llm._internal.serve.deployments.llm import llm_server
    from ray.llm._internal.serve.deployments.routers import router
except ImportError as _error:
    raise ImportError(
        f"fastchunk.integrations.ray_serve_llm needs the LLM code of Ray Serve ({_error}): "
        "python -m pip install 'ray[llm]==2.46.0'"
    ) from _error

__all__ = ["install", "uninstall"]

_BUILD = "_chat_completions_wrapper"
_FRAME = "_apply_openai_json_format"
_CLASSES = {
    "ChatCompletionLogProb": "98a92ebaf4e9fe78",
    "ChatCompletionLogProbs": "241ffcb5befc3369",
    "ChatCompletionLogProbsContent": "0cc5aa1153df321a",
    "ChatCompletionResponseStreamChoice": "2bc536a3390293b6",
    "ChatCompletionStreamResponse": "0ab0f8bc44c6161b",
    "DeltaMessage": "4b97fab5b8fe2bbf",
    "UsageInfo": "449f6b3eebac9ab6",
}
"""The classes that Ray builds chunks of, and the digests of their source in Ray 2.46.0. It never
builds the other three of the mirror's: it streams no tool calls, and no details of usage."""

_KNOWN: dict[ModuleType, dict[str, str]] = {
    llm_server: {
        **_CLASSES,
        f"ResponsePostprocessor.{_BUILD}": "e815bcc7e867af17",
        "ResponsePostprocessor.process_chat": "9d9c4083d9c264be",
    },
    router: {
        _FRAME: "2296c82f6d57f4e9",
        "_openai_json_wrapper": "5cce1f1c58bed43f",
        "_peek_at_openai_json_generator": "22e14d0917ac2ce9",
        "LLMRouter.chat": "996dd10895248f6b",
    },
}
"""All code that a chunk meets between the engine and the HTTP server, and its digests."""

_rays_own: dict[str, Any] = {}


def install() -> None:
    """Make Ray's code in this process stream the mirror's chunks; do nothing if it does already.

    It replaces two functions. The one that builds a streamed chat's chunks keeps Ray's code, and
    gets the mirror's classes for the names of Ray's; whatever else is changed in its module later
    does not reach it. The one that frames them is written anew. Answers that are not streamed,
    legacy completions and errors remain Ray's own.

    Raises `RuntimeError`, and replaces nothing, if the source of a function or class that a chunk
    meets is not that of Ray 2.46.0, because this is another Ray or because somebody patched it.
    """
    if _rays_own:
        return
    _check_source()
    postprocessor = llm_server.ResponsePostprocessor
    _rays_own[_BUILD] = getattr(postprocessor, _BUILD)
    _rays_own[_FRAME] = getattr(router, _FRAME)
    setattr(postprocessor, _BUILD, staticmethod(_with_mirror(_rays_own[_BUILD])))
    setattr(router, _FRAME, _frame)


def uninstall() -> None:
    """Put Ray's own functions back. Streams that have begun go on as they are."""
    if _rays_own:
        setattr(llm_server.ResponsePostprocessor, _BUILD, staticmethod(_rays_own.pop(_BUILD)))
        setattr(router, _FRAME, _rays_own.pop(_FRAME))


def _check_source() -> None:
    unknown = [
        f"{module.__name__}.{name}"
        for module, digests in _KNOWN.items()
        for name, digest in digests.items()
        if _digest(module, name) != digest
    ]
    if unknown:
        raise RuntimeError(
            f"fastchunk knows the LLM code of Ray 2.46.0; this is Ray {ray.__version__}, "
            f"in which these are others, or patched: {', '.join(unknown)}. Nothing was replaced."
        )


def _digest(module: ModuleType, name: str) -> str | None:
    """Digest the source of a function or class; None if there is no such thing, or no source."""
    try:
        found = attrgetter(name)(module)
        # Of what wraps a function, `inspect` would show the function.
        source = inspect.getsource(found if isinstance(found, type) else _code_of(found))
    except (AttributeError, OSError, TypeError):
        return None
    return hashlib.blake2s(source.encode(), digest_size=8).hexdigest()


def _code_of(found: Any) -> CodeType:
    if type(found) is not FunctionType:  # a proxy says that it is an instance of it
        raise TypeError(f"{found!r} is no plain function")
    return found.__code__


def _with_mirror(function: FunctionType) -> FunctionType:
    # In the module itself the classes must stay: the answers that are not streamed are Pydantic
    # models, and refuse the mirror's usage and logprobs.
    mirror = {name: getattr(models, name) for name in _CLASSES}
    made = FunctionType(function.__code__, {**vars(llm_server), **mirror})
    update_wrapper(made, function)
    return made


def _frame(response: Any) -> str:
    # Ray's own joins the single characters of this text, which takes as long as building the chunk.
    return f"data: {response.model_dump_json()}\n\n"
