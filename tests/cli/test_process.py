"""Input and output that fail, and commands as processes of their own."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastchunk.cli import main
from fastchunk.cli._input import Unreadable, read_input
from fastchunk.cli._output import Output, exit_cleanly
from fastchunk.cli.app import app

from .harness import CLEAN, DONE, ENCODER, PATIENCE, WHOLE, closed_pipe, process, read_until, run


@pytest.mark.parametrize("command", ["read", "check"])
@pytest.mark.parametrize(
    ("path", "reason"),
    [("missing", "No such file or directory"), (".", "Is a directory")],
)
def test_what_cannot_be_read(command: str, path: str, reason: str) -> None:
    result = run(command, path)
    assert result.exit_code == 2
    assert result.stderr.startswith("fastchunk: cannot read ")
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1


def test_opening_a_file_decides_whether_it_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stream.sse").write_bytes(CLEAN)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # what typer would ask
    assert run("read", str(tmp_path / "stream.sse")).stdout == "Hi\n"


def test_without_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(Unreadable, match="standard input: it is closed"):
        next(read_input("-", before=lambda: None))


def test_without_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as caught, exit_cleanly():
        Output()
    assert caught.value.code == 2
    assert capsys.readouterr().err == "fastchunk: standard output is closed\n"


def test_an_interrupt_in_this_process(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        print("pending", end="")
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught, exit_cleanly():
        work()
    assert caught.value.code == 130
    assert capsys.readouterr() == ("pending", "")


def test_a_pipe_that_nobody_reads_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        out = Output()
        out.write_line("something")
        out.flush()

    with closed_pipe() as closed, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", closed)
        with pytest.raises(SystemExit) as caught, exit_cleanly():
            work()
    assert caught.value.code == 141


def test_help_that_nobody_reads_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_pipe() as closed, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", closed)
        with pytest.raises(SystemExit) as caught, exit_cleanly():
            app(["read", "--help"])
    assert caught.value.code == 141


class Breaking(io.BytesIO):
    """A file that gives what it holds in one read, and fails at the next."""

    def __init__(self, data: bytes, error: BaseException) -> None:
        super().__init__(data)
        self.error = error

    def read(self, size: int | None = -1, /) -> bytes:
        if data := super().read(size):
            return data
        raise self.error


INPUT_ERROR = OSError(5, "Input/output error")


def test_a_failing_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", lambda *_, **__: Breaking(b"", INPUT_ERROR))
    result = run("read", str(tmp_path))
    assert result.exit_code == 2
    assert result.stderr == f"fastchunk: cannot read {tmp_path}: Input/output error\n"


# --- text and messages in one place ---------------------------------------------------------------

HALF = ENCODER.content("half a li")
BROKEN = HALF + b"data: {\n\n" + ENCODER.content("ne") + ENCODER.finish("stop") + DONE
MESSAGE = f"fastchunk: event 2, byte {len(HALF)}: not a JSON document: Input data was truncated\n"


def test_a_message_has_a_line_of_its_own_on_a_terminal(terminal: Callable[..., str]) -> None:
    assert terminal("read", "-", data=BROKEN) == f"half a li\n{MESSAGE}ne\n"


def test_a_message_has_a_line_of_its_own_in_a_pipe() -> None:
    with process("read", "-", stderr=subprocess.STDOUT) as popen:
        out, _ = popen.communicate(BROKEN, timeout=PATIENCE)
        assert out.decode() == f"half a li\n{MESSAGE}ne\n"


def test_a_message_has_a_line_of_its_own_in_a_file(tmp_path: Path) -> None:
    with (
        (tmp_path / "log").open("wb") as log,
        process("read", "-", stdout=log, stderr=log) as popen,
    ):
        popen.communicate(BROKEN, timeout=PATIENCE)
    assert (tmp_path / "log").read_text() == f"half a li\n{MESSAGE}ne\n"


def test_a_message_elsewhere_leaves_the_text_alone(
    tmp_path: Path, terminal: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with process("read", "-") as popen:
        out, err = popen.communicate(BROKEN, timeout=PATIENCE)
        assert (out.decode(), err.decode()) == ("half a line\n", MESSAGE)
    with (tmp_path / "log").open("w") as log:
        assert terminal("read", "-", data=BROKEN, stderr=log) == "half a line\n"
    assert (tmp_path / "log").read_text() == MESSAGE
    monkeypatch.setattr(sys, "stderr", None)
    with (tmp_path / "text").open("w") as text:
        monkeypatch.setattr(sys, "stdout", text)
        output = Output()
        output.write("half a li")
        output.print_message("nobody sees this")
        output.write("ne")
    assert (tmp_path / "text").read_text() == "half a line"


@pytest.mark.parametrize(
    ("error", "status", "after"),
    [
        (INPUT_ERROR, 2, "\nfastchunk: cannot read x: Input/output error\n"),
        (KeyboardInterrupt(), 130, "\n"),
    ],
)
def test_what_ends_a_command_leaves_no_line_open(
    error: BaseException, status: int, after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "log").open("w") as log, monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda *_, **__: Breaking(HALF, error))
        patch.setattr(sys, "stdout", log)
        patch.setattr(sys, "stderr", log)
        with pytest.raises(SystemExit) as caught:
            app(["read", "x"])
    assert caught.value.code == status
    assert (tmp_path / "log").read_text() == f"half a li{after}"


def test_text_comes_before_the_stream_has_ended() -> None:
    with process("read", "-") as popen:
        assert popen.stdin is not None
        for word in ("one", "two"):
            event = ENCODER.content(word)
            popen.stdin.write(event)
            read_until(popen, word.encode())
        out, err = popen.communicate(ENCODER.finish("stop") + DONE, timeout=PATIENCE)
        assert (out, err, popen.returncode) == (b"\n", b"", 0)


def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with process("read", "-", stdin=reader) as popen, os.fdopen(writer, "wb", buffering=0) as pipe:
        os.close(reader)
        for word in ("one", "two"):
            pipe.write(ENCODER.content(word))
            read_until(popen, word.encode())
        pipe.write(ENCODER.finish("stop") + DONE)
        out, err = popen.communicate(timeout=PATIENCE)
        assert (out, err, popen.returncode) == (b"\n", b"", 0)


def test_a_pipe_that_does_not_block_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with os.fdopen(reader) as stdin, os.fdopen(writer, "wb", buffering=0) as pipe:
        monkeypatch.setattr(sys, "stdin", stdin)
        waits: list[Any] = []

        def answer(*files: Any) -> None:
            waits.append(files)
            pipe.write(b"more") if len(waits) == 1 else pipe.close()

        monkeypatch.setattr("fastchunk.cli._input.select", answer)
        assert list(read_input("-", before=lambda: None)) == [b"more"]
        assert len(waits) == 2


def test_problems_come_before_the_stream_has_ended() -> None:
    with process("check", "-") as popen:
        assert popen.stdin is not None
        popen.stdin.write(b"data: {\n\n")
        read_until(popen, b"invalid-json")
        _, err = popen.communicate(CLEAN, timeout=PATIENCE)
        assert (err, popen.returncode) == (b"", 1)


@pytest.mark.parametrize("command", [["read", "-"], ["read", "-", "--json"], ["check", "-"]])
def test_a_pipe_that_nobody_reads(command: list[str]) -> None:
    with process(*command) as popen:
        assert popen.stdout is not None
        popen.stdout.close()
        _, err = popen.communicate(b"data: {\n\n" + WHOLE * 1000, timeout=PATIENCE)
        assert popen.returncode == 141
        assert b"Traceback" not in err
        assert b"Exception" not in err


@pytest.mark.parametrize("arguments", [[], ["--version"], ["--help"], ["read", "--help"]])
def test_help_that_nobody_reads(arguments: list[str]) -> None:
    with closed_pipe() as closed, process(*arguments, stdout=closed) as popen:
        _, err = popen.communicate(timeout=PATIENCE)
        assert (err, popen.returncode) == (b"", 141)


@pytest.mark.parametrize(
    ("arguments", "status"), [(["read", "missing"], 2), (["read", "-"], 1), (["read"], 141)]
)
def test_messages_that_nobody_reads(arguments: list[str], status: int) -> None:
    with closed_pipe() as closed, process(*arguments, stderr=closed) as popen:
        out, _ = popen.communicate(b"data: {\n\n" + WHOLE, timeout=PATIENCE)
        assert out.decode() == ("Hello, 世界\n" if status == 1 else "")
        assert popen.returncode == status


def test_without_standard_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.raises(SystemExit) as caught:
        app(["read", str(tmp_path / "missing")])
    assert caught.value.code == 2


def test_an_interrupt() -> None:
    def heed() -> None:  # a shell lets what runs in the background ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with process("read", "-", preexec_fn=heed) as popen:
        assert popen.stdin is not None
        popen.stdin.write(ENCODER.content("begun"))
        read_until(popen, b"begun")
        popen.send_signal(signal.SIGINT)
        assert popen.wait(PATIENCE) == 130
        assert popen.stderr is not None
        assert popen.stderr.read() == b""


def test_an_interrupt_while_libraries_are_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "typer")
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130
    assert capsys.readouterr() == ("", "")
