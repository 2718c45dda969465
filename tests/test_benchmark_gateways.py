"""Gateways side by side: what is lost on the way, how they are started, what a page says."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks.end_to_end.load import Load, LoadFailed, Reply
from benchmarks.end_to_end.upstream import Answer
from benchmarks.gateways import figures
from benchmarks.gateways.environments import DebianEnvironment, Environment, folder
from benchmarks.gateways.fidelity import BYTES, JSON, MODEL_ONLY, STREAMS, compare, is_loss
from benchmarks.gateways.measure import Gateway
from benchmarks.gateways.own import CONTROL, REFERENCE, RELAY
from benchmarks.gateways.peers import PEERS, Command, Peer, environments
from benchmarks.processes import Process, processor_time
from benchmarks.report import gateways as report

# --- what is gone ---


def _stream(*events: dict[str, Any] | bytes) -> bytes:
    return b"".join(
        event if isinstance(event, bytes) else b"data: %b\n\n" % json.dumps(event).encode()
        for event in events
    )


def _chunk(**delta: Any) -> dict[str, Any]:
    return {"id": "c", "model": "m", "choices": [{"delta": delta}]}


DONE = b"data: [DONE]\n\n"
SENT = _stream(b": hi\n\n", _chunk(content="a"), _chunk(content="b"), _chunk(x=[{"y": 1}]), DONE)


def test_nothing_is_gone_where_the_bytes_are_the_same() -> None:
    assert compare(SENT, SENT) == {"same": BYTES}
    assert compare(SENT, SENT.replace(b'"m"', b'"alias"')) == {"same": MODEL_ONLY}
    assert not is_loss({"same": BYTES})


def test_the_same_documents_may_be_written_otherwise() -> None:
    assert compare(SENT, SENT.replace(b'": ', b'":')) == {"same": JSON}
    assert compare(SENT, SENT.replace(b"\n", b"\r\n")) == {"same": JSON}


def test_a_text_may_be_cut_otherwise() -> None:
    found = compare(SENT, _stream(b": hi\n\n", _chunk(content="ab"), _chunk(x=[{"y": 1}]), DONE))
    assert found == {"events": 1}


@pytest.mark.parametrize(
    ("received", "loss"),
    [
        (SENT.replace(b": hi\n\n", b""), {"comments": 1}),
        (SENT.replace(DONE, b""), {"done": True}),
        (SENT.replace(b'"id": "c", ', b""), {"lost": ["id"]}),
        (SENT.replace(b'{"y": 1}', b""), {"lost": ["choices[].delta.x[]"]}),
        (SENT.replace(b'"x": [{"y": 1}]', b""), {"lost": ["choices[].delta.x"]}),
        (SENT.replace(b'"y": 1', b'"y": null'), {"lost": ["choices[].delta.x[].y"]}),
        (SENT.replace(b'"y": 1', b'"y": 2'), {"changed": ["choices[].delta.x[].y"]}),
        (SENT.replace(b'"y": 1', b'"y": 1, "z": null'), {"nulls": ["choices[].delta.x[].z"]}),
        (SENT.replace(b'"id"', b'"z": {"w": 0}, "id"'), {"added": ["z"]}),
    ],
)
def test_what_is_gone_is_named(received: bytes, loss: dict[str, Any]) -> None:
    assert received != SENT
    assert compare(SENT, received) == loss
    assert is_loss(loss)


def test_other_fields_than_data_can_be_lost() -> None:
    sent = b'event: error\nid: 1\ndata: {"error": "no"}\n\n'
    assert compare(sent, b'id: 1\ndata: {"error": "no"}\n\n') == {"fields": ["event: error"]}


# --- what the clients take ---


def _reply(body: bytes, head: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> Reply:
    reply = Reply(Answer(2))
    reply.times, reply.reads = [10, 20], [head, body]
    return reply


TEXTS = [_chunk(content=f"{n:06} {n + 3:019}") for n in range(2)]
FINISH = {"model": "m", "choices": [{"delta": {}, "finish_reason": "stop"}]}
USAGE = {"model": "m", "choices": []}


def test_a_gateway_may_write_events_as_it_likes() -> None:
    body = _stream(*TEXTS, b": hi\n\n", FINISH, USAGE, b"data:[DONE]\n\n")
    load = Load(1, 1, 1, Answer(2))
    assert _reply(body).check(load) == [17, 16]
    half = len(body) // 2
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(x), x) for x in (body[:half], body[half:], b""))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert _reply(chunked, head).check(load) == [17, 16]


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([*TEXTS, FINISH], "ended with"),
        ([*TEXTS, DONE], "ended with"),
        ([*TEXTS, FINISH, FINISH, DONE], "ended with"),
        ([TEXTS[1], TEXTS[0], FINISH, DONE], "not what it has to be"),
        ([TEXTS[0], FINISH, DONE], "not what it has to be"),
    ],
)
def test_a_gateway_has_to_keep_what_matters(events: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _reply(_stream(*events)).check(Load(1, 1, 1, Answer(2)))


def test_the_model_is_checked_where_a_gateway_is_to_change_it() -> None:
    with pytest.raises(ValueError, match="the model is m, not alias"):
        _reply(_stream(*TEXTS, FINISH, DONE)).check(Load(1, 1, 1, Answer(2), "alias"))


def test_a_refusal_is_shown() -> None:
    with pytest.raises(ValueError, match=r"it answered .* 404 Not Found .* no such model"):
        _reply(b"no such model", b"HTTP/1.1 404 Not Found\r\n\r\n").check(Load(1, 1, 1, Answer(2)))


# --- processes ---

BURN = "import time\nwhile time.process_time() < 0.2: pass\nprint(flush=True)\ntime.sleep(60)"


def test_the_time_of_children_counts() -> None:
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}])"
    with closing(Process([sys.executable, "-c", parent])) as process:
        process.ask(b"")
        assert processor_time(process.pid) > 200_000_000


def test_a_gateway_that_ends_says_its_last_words(tmp_path: Path) -> None:
    def start(_: Any) -> Command:
        return Command([sys.executable, "-c", "raise SystemExit('no such option')"])

    with closing(Process(["cat"])) as clients:
        gateway = Gateway(Peer("x", "", start), 1, clients, tmp_path)
        with closing(gateway), pytest.raises(LoadFailed, match="status 1: no such option"):
            gateway.wait()


# --- environments ---


class _Refused(Environment):
    def _install(self) -> dict[str, str]:
        raise subprocess.CalledProcessError(1, "pip", stderr="a warning\nno such version\n")


class _Installed(Environment):
    def _install(self) -> dict[str, str]:
        (self.path / "it").touch(exist_ok=False)
        return {"it": "1"}


def test_what_is_installed_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCHUNK_GATEWAYS", str(tmp_path))
    one = _Installed("one", ("it==1",))
    assert one.missing() == "is not installed"
    one.install()
    assert one.missing() == ""
    assert one.versions()["it"] == "1"
    (one.path / "kept").touch()
    one.install()
    assert (one.path / "kept").exists()
    other = _Installed("one", ("it==2",))  # another version is wanted
    assert other.missing() == "is not installed"
    other.install()
    assert not (one.path / "kept").exists()


def test_why_something_cannot_be_installed_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTCHUNK_GATEWAYS", str(tmp_path))
    one = _Refused("one", ("it==1",))
    one.install()
    assert one.missing() == "cannot be installed: no such version"
    assert one.versions() == {}


def test_the_folder_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTCHUNK_GATEWAYS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert folder() == Path("/cache/fastchunk/gateways")


def test_every_peer_has_a_name_and_every_version_is_exact() -> None:
    assert len({peer.name for peer in PEERS}) == len(PEERS)
    for environment in environments():
        if isinstance(environment, DebianEnvironment):
            continue  # Debian's release decides
        assert all("==" in one or "@" in one[1:] for one in environment.packages)


# --- pages ---


def _results() -> dict[str, Any]:
    taken = {
        REFERENCE: [(10_000.0, 100.0)] * 3,
        CONTROL: [(11_000.0, 100.0)] * 3,
        RELAY: [(12_000.0, 100.0)] * 3,
        "slow": [(120_000.0, 70.0)],
    }
    cell = {
        name: [{"cpu": cpu, "rate": rate} for cpu, rate in each] for name, each in taken.items()
    }
    return {
        **dict.fromkeys(("date", "commit", "machine"), "?"),
        "versions": {"CPython": "3.11.7"},
        "passes": 3,
        "cells": {"A": cell, "R": cell},
        "about": {"A": "16 streams", "R": "16 clients"},
        "losses": {},
        "absent": {"other": "is not installed"},
        "peers": {name: {"about": "it runs", "versions": {}} for name in taken},
    }


def test_a_ratio_is_over_the_reference_in_the_same_pass() -> None:
    results = _results()
    base = results["cells"]["A"][REFERENCE]
    results["cells"]["A"][REFERENCE] = [{**base[0], "cpu": cpu} for cpu in (10_000, 6_000, 24_000)]
    assert figures.ratios(results, "A", RELAY) == [1.2, 2, 0.5]
    assert figures.ratio(results, "A", RELAY) == 1.2
    assert figures.ratios(results, "A", "slow") == [12]


def test_a_table_of_gateways_shows_ratios_and_who_falls_behind() -> None:
    text = report.section(_results())
    reference = "1 = 10.0 µs an event (10.0–10.0) | 1 = 10.0 µs a request (10.0–10.0)"
    assert f"| {REFERENCE} | {reference} |" in text
    assert f"| {RELAY} | **1.20×** (1.20–1.20) | **1.20×** (1.20–1.20) |" in text
    assert "| slow | **12.0×** (12.0–12.0) † | **12.0×** (12.0–12.0) |" in text
    assert "3 passes, of which slow gateways took part in 1." in text
    assert "Not in the table: other: is not installed." in text
    assert "What is gone" not in text


def test_a_table_of_gateways_says_what_is_gone() -> None:
    results = _results()
    loss = {
        "cut": True,
        "events": 2,
        "comments": 1,
        "done": True,
        "fields": ["event: error"],
        "lost": ["usage", "a", "b", "c", "choices[].delta.reasoning"],
        "changed": ["id"],
        "nulls": ["x", "y"],
    }
    results["losses"] = {
        REFERENCE: {title: {"same": BYTES} for title in STREAMS},
        RELAY: {title: {"same": MODEL_ONLY} for title in STREAMS},
        "slow": {
            **{title: {"same": JSON} for title in STREAMS},
            "mid-stream error": loss,
            "parts": {"failed": "no"},
            "padding": {"events": -1, "added": ["z"]},
        },
    }
    text = report.section(results)
    assert f"- the same bytes, all six: {REFERENCE}\n" in text
    assert f"- the same bytes but for the model, all six: {RELAY}\n" in text
    row = (
        "broken off; lost 2 events, 1 comment, `[DONE]`, `event: error`, `reasoning`, `usage`, "
        "`a`, `b`, 1 more; changed `id`; 2 keys that are null added"
    )
    same = " | ".join([JSON] * 3)
    assert f"| slow | {row} | {same} | no answer: no | 1 event more; added `z` |" in text


def test_the_readme_names_the_gateways_in_order() -> None:
    results = _results()
    line = report.line(results)
    assert f"(16 streams): {RELAY} 1.20× · slow 12.0×. [" in line
    results["cells"]["R"] = {name: [one[0]] for name, one in results["cells"]["R"].items()}
    results["cells"]["R"][RELAY] = [{"cpu": 15_000.0, "rate": 100.0}]
    assert report.line(results).endswith(f"worst for it: {RELAY} 1.50× (16 clients).")
