"""The table of providers: what it says of made-up streams; and every recorded chunk decodes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from fastchunk import StreamEncoder, wire
from tests.streams import recorded

from . import providers
from .providers import Tally, examine

_encoder = StreamEncoder(wire, model="m", id="c", created=1)
TEXT, FINISH, DONE = _encoder.content("Hi"), _encoder.finish("stop"), _encoder.done()
ERROR = b'data: {"error":{"message":"overloaded"}}\n\n'
UNKNOWN = TEXT.replace(b'"content"', b'"unknown":1,"content"')
NUMBER = TEXT.replace(b'"created":1', b'"created":1.0')
UNDECODABLE = b'data: {"choices":1}\n\n'


def _counts(events: int, chunks: int, decoded: int, lossless: int, errors: int = 0) -> Tally:
    return Tally(1, events, chunks, decoded, lossless, 1, errors, recognised=errors)


STREAMS = {
    "made up": TEXT + FINISH + ERROR + DONE,
    **{path.stem: path.read_bytes() for path in recorded()},
}


@pytest.mark.parametrize("raw", STREAMS.values(), ids=STREAMS)
def test_every_chunk_is_decoded_and_every_stream_relayed(raw: bytes) -> None:
    tally = examine(raw)
    assert tally.decoded == tally.chunks > 0
    assert tally.recognised == tally.errors
    assert tally.relayed == 1


@pytest.mark.parametrize(
    ("raw", "end", "expected"),
    [
        (TEXT + FINISH + DONE, "[DONE]", _counts(3, 2, 2, 2)),
        (TEXT + FINISH + DONE[:-1], "[DONE]", _counts(3, 2, 2, 2)),
        (b": hi\n\n" + TEXT + FINISH, "finish only", _counts(2, 2, 2, 2)),
        (TEXT + TEXT[:-9], "cut", _counts(2, 1, 1, 1)),
        (UNKNOWN + NUMBER, "cut", _counts(2, 2, 2, 0)),
        (UNDECODABLE + DONE, "[DONE]", _counts(2, 1, 0, 0)),
        (TEXT + ERROR, "error", _counts(2, 1, 1, 1, errors=1)),
        (ERROR + DONE, "error then [DONE]", _counts(2, 0, 0, 0, errors=1)),
        (b"data: null\n\n" + DONE, "[DONE]", _counts(2, 0, 0, 0)),
    ],
)
def test_made_up_stream(raw: bytes, end: str, expected: Tally) -> None:
    assert examine(raw) == replace(expected, ends=Counter([end]))


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the command at three made-up streams and a page of their own."""
    (tmp_path / "b__text.sse").write_bytes(TEXT + FINISH + DONE)
    (tmp_path / "b__cut__short.sse").write_bytes(UNKNOWN)
    (tmp_path / "a__text.sse").write_bytes(TEXT * 1000 + FINISH)
    path = tmp_path / "docs" / "providers.md"
    monkeypatch.setattr(providers, "PAGE", path)
    monkeypatch.setenv("FASTCHUNK_STREAMS", str(tmp_path))
    return path


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["providers", *arguments])
    return providers.main()


def test_the_page_is_written_and_checked(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, "--check") == 1
    assert capsys.readouterr().out.startswith("stale: providers.md")
    assert _run(monkeypatch, "--write") == 0
    assert capsys.readouterr().out == "wrote providers.md\n"
    lines = page.read_text("utf-8").splitlines()
    assert lines[0] == "# Providers"
    assert lines[-5].startswith("| provider | streams | events |")
    assert lines[-3:] == [
        "| a | 1 | 1,001 | 1,001 | all | all | all | finish only |",
        "| b | 2 | 4 | 3 | all | 2 of 3 | all | cut 1 · [DONE] 1 |",
        "| **sum** | 3 | 1,005 | 1,004 | all | 1,003 of 1,004 | all "
        "| finish only 1 · cut 1 · [DONE] 1 |",
    ]
    assert _run(monkeypatch, "--check") == 0
    assert capsys.readouterr().out == ""
    page.write_text("| **sum** | 4 |\n", "utf-8")
    assert _run(monkeypatch, "--check") == 1


def test_nothing_to_read(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FASTCHUNK_STREAMS")
    assert _run(monkeypatch, "--write") == 0
    assert "nothing is written or checked" in capsys.readouterr().out
    assert not page.exists()


def test_the_checkout_has_the_page() -> None:
    assert "| provider | streams |" in providers.PAGE.read_text("utf-8")
