"""The file of `fastchunk gateway --redact`: what it may say, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from fastchunk.cli._redact import read_rules
from fastchunk.text import Filter

TEXT = "Falcon flies. falcons fly: FALCON, /x/, a=>b."


def redacted(lines: str | bytes, folder: Path, text: str = TEXT) -> str:
    path = folder / "rules.txt"
    path.write_bytes(lines if isinstance(lines, bytes) else lines.encode())
    stream = Filter(read_rules(path))
    return "".join([*map(stream.feed, text), stream.close()])  # cut everywhere


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("Falcon", TEXT.replace("Falcon", "[redacted]")),
        ("Falcon => a plane", TEXT.replace("Falcon", "a plane")),
        ("Falcon =>", TEXT.replace("Falcon", "")),
        ("  Falcon\t=>  a plane \r\n", TEXT.replace("Falcon", "a plane")),
        ("a=>b", TEXT.replace("a=>b", "[redacted]")),
        ("\ufeffFalcon", TEXT.replace("Falcon", "[redacted]")),
        ("# Falcon\n\n  # fly\nFALCON", TEXT.replace("FALCON", "[redacted]")),
        ("falcon\nfalcons", TEXT.replace("falcons", "[redacted]")),
        ("falcon\nfalcons => x", TEXT.replace("falcon", "[redacted]")),
        (
            "falcons => x\nfalcon => y\nFalcon => y",
            TEXT.replace("falcons", "x").replace("Falcon", "y"),
        ),
        ("/FALCON/i => x", "x flies. xs fly: x, /x/, a=>b."),
        ("/f(alcon)s?/i => \\1", "alcon flies. alcon fly: ALCON, /x/, a=>b."),
        ("/f[a-z]lcon/", TEXT.replace("falcon", "[redacted]")),
        ("/falcon./s => x", TEXT.replace("falcons", "x")),
        ("/ F A L C O N /x => x", TEXT.replace("FALCON", "x")),
        ("//x// => /y/", TEXT.replace("/x/", "/y/")),
        ("//x//", TEXT.replace("/x/", "[redacted]")),
        ("/a=>b/", TEXT.replace("a=>b", "[redacted]")),
    ],
)
def test_what_a_line_may_say(lines: str, expected: str, tmp_path: Path) -> None:
    assert redacted(lines, tmp_path) == expected


def test_the_arguments_of_tools_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "rules.txt"
    path.write_text("a\n/b/\n")
    rules = read_rules(path)
    assert len(rules) == 2
    assert all("arguments" in rule.channels for rule in rules)


def test_strings_with_one_replacement_make_one_rule(tmp_path: Path) -> None:
    path = tmp_path / "rules.txt"
    path.write_text("".join(f"word{n}\n" for n in range(1000)) + "a => b\nc => b\n/d/\n/e/\nf")
    assert len(read_rules(path)) == 5


@pytest.mark.parametrize(
    ("lines", "line", "reason"),
    [
        ("a\n=> b", 2, "nothing stands before the arrow"),
        ("/a", 1, "a pattern stands between two slashes"),
        ("//", 1, "a pattern stands between two slashes"),
        ("/a/ b", 1, "a pattern stands between two slashes"),
        ("#\n\n/etc/passwd", 3, "there is no flag 'd': there are a, i, m, s, x"),
        ("/(/", 1, "unterminated subpattern"),
        ("/a{1,99999999999999}/", 1, "repetition number"),
        ("/a+/", 1, "repeats something without a bound"),
        ("/a?/", 1, "may match nothing"),
        ("/a/ => \\2", 1, "the replacement is no template"),
        (b"a\n\xff", 2, "can't decode byte 0xff"),
    ],
)
def test_a_wrong_line_is_named(lines: str | bytes, line: int, reason: str, tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter) as caught:
        redacted(lines, tmp_path)
    assert caught.value.message.startswith(f"{tmp_path / 'rules.txt'}, line {line}: ")
    assert reason in caught.value.message


@pytest.mark.parametrize("lines", ["", "# a comment\n\n"])
def test_a_file_without_a_rule_is_refused(lines: str, tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match=r"rules.txt: there is nothing to redact in it"):
        redacted(lines, tmp_path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match=r"missing.txt: No such file"):
        read_rules(tmp_path / "missing.txt")
