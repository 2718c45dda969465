"""What `import fastchunk` costs and promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import fastchunk

ROOT = Path(__file__).parents[1]


def _python(*arguments: str) -> str:
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def test_import_needs_msgspec_and_the_standard_library_alone() -> None:
    # msgspec itself takes typing_extensions where it is there; a module that Cython has compiled
    # registers what all of its kind share.
    code = (
        "import msgspec.inspect; before = set(sys.modules); import fastchunk; "
        "print(*{m.partition('.')[0] for m in set(sys.modules) - before if not 'cython' in m})"
    )
    loaded = set(
        _python("-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}").split()
    )
    assert loaded - sys.stdlib_module_names == {"fastchunk"}


def test_public_names() -> None:
    assert sorted(fastchunk.__all__) == [
        "Accumulator",
        "ChunkStream",
        "DONE",
        "DROP",
        "Event",
        "EventDecoder",
        "EventTooLarge",
        "FastchunkError",
        "InvalidChunk",
        "Relay",
        "StreamEncoder",
        "TruncatedStream",
        "UpstreamError",
        "__version__",
        "aiter_chunks",
        "compiled",
        "decode",
        "edit",
        "encode",
        "encode_event",
        "format_event",
        "iter_chunks",
    ]
    for name in fastchunk.__all__:
        assert hasattr(fastchunk, name)


def test_the_constraints_follow_the_project() -> None:
    """Both files say what pyproject.toml does; `bash .ci/constraints` writes them."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    pinned, lowest = _versions("tests/constraints.txt"), _versions("tests/constraints-lowest.txt")
    named = re.findall(r'"([\w-]+)(?:\[\w+\])?(==|>=)([\w.]+)', project)
    assert {"msgspec", "ray", "typer", "hatchling", "litellm"} <= {name for name, *_ in named}
    for name, operator, version in named:
        # The core tests do without Ray, whose floor is the oracle's release.
        held = pinned if operator == "==" else {**pinned, **lowest}
        assert _release(held[name]) == _release(version), f"{name}{operator}{version}"


def _versions(constraints: str) -> dict[str, str]:
    lines = (ROOT / constraints).read_text("utf-8").splitlines()
    return dict(line.split(" ")[0].split("==") for line in lines if not line.startswith("#"))


def _release(version: str) -> str:
    return re.sub(r"(\.0)+$", "", version)


def test_the_types_as_a_user_sees_them(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM)
    printed = _python("-m", "mypy", "--strict", "--no-incremental", str(program))
    revealed = [line.split("note: ")[1] for line in printed.splitlines() if "note: " in line]
    chunk = "fastchunk.models.ChatCompletionStreamResponse"
    assert revealed == [
        f'Revealed type is "{name}"'
        for name in (
            chunk,
            "str",
            "bytes",
            "bytes",
            chunk,
            "fastchunk.models.UsageInfo",
            chunk,
            "dict[str, Any]",
            "str",
            "typing.Iterator[fastchunk.wire.ChatCompletionStreamResponse]",
            "typing.Iterator[fastchunk.models.ChatCompletionStreamResponse]",
            "list[fastchunk.wire.ChatCompletionStreamResponse]",
            "bytes",
            "bytes",
        )
    ]


_PROGRAM = """
from fastchunk import (
    DROP, ChunkStream, InvalidChunk, Relay, decode, edit, encode, encode_event, iter_chunks, models,
    wire,
)
from fastchunk.models import ChatCompletionStreamResponse, UsageInfo

chunk = decode(memoryview(b"{}"))
reveal_type(chunk)
reveal_type(chunk.choices[0].delta.content)
reveal_type(encode(chunk))
reveal_type(encode_event(chunk))
reveal_type(ChatCompletionStreamResponse.model_validate_json(bytearray()))
reveal_type(UsageInfo.model_validate({}))
reveal_type(chunk.model_copy(update={"model": "alias"}))
reveal_type(chunk.model_dump())
try:
    decode("")
except InvalidChunk as error:
    reveal_type(error.errors()[0]["msg"])
reveal_type(iter_chunks([b""]))
reveal_type(iter_chunks([b""], models))
reveal_type(ChunkStream(wire).feed(b""))
reveal_type(Relay(set={"model": "alias"}, on_chunk=lambda chunk: DROP).feed(b""))
reveal_type(edit(b"{}", {"usage": DROP}))
"""
