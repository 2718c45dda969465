"""The benchmarks' own arithmetic: what is cut, left out, compared, and written into pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import goals, pages
from benchmarks.__main__ import main
from benchmarks.catalog import jobs
from benchmarks.end_to_end import figures as sockets
from benchmarks.end_to_end.gateways import CONTROL, PYDANTIC, REFERENCE, RELAY
from benchmarks.figures import factor, quartiles, ratios, slowest, time_of
from benchmarks.job import Job, Part, expect
from benchmarks.jobs.peers import ROUTER
from benchmarks.jobs.relays import CHANGE
from benchmarks.report import end_to_end, headline, streams
from benchmarks.report.least import least
from benchmarks.shapes import shapes
from benchmarks.streams import CUTS, Stream, cut, mixes
from benchmarks.turns import prepare, summarise

STREAM = (
    b': hi\n\ndata: {"a":1}\n\nevent: error\ndata: {"b":2}\n\ndata: {"c":3}\r\n\r\ndata: [DONE]\n'
)


# --- streams ---


@pytest.mark.parametrize(("blocks", "reads"), [(1, 5), (2, 3), (4, 2), (0, 1)])
def test_a_stream_is_cut_after_whole_blocks(blocks: int, reads: int) -> None:
    found = cut(Stream("made up", STREAM), blocks)
    assert len(found.reads) == reads
    assert b"".join(found.reads) == STREAM
    assert all(read.endswith((b"\n\n", b"\r\n\r\n")) for read in found.reads[:-1])
    assert found.bodies == [b'{"a":1}', b'{"c":3}']


def test_every_measured_stream_is_cut_without_loss() -> None:
    for streams_ in mixes().values():
        for stream in streams_:
            for blocks in CUTS.values():
                assert b"".join(cut(stream, blocks).reads) == stream.raw


def test_the_shapes_are_streams_of_so_many_events() -> None:
    for raw in shapes(32).values():
        events = raw.replace(b"\r\n", b"\n").split(b"\n\n")
        assert len(events) == 33
        assert events[-2:] == [b"data: [DONE]", b""]
        assert all(json.loads(event[6:])["choices"] for event in events[:-2])
    assert shapes(32) == shapes(32)


# --- turns ---


def _job(*may_fail: str) -> Job:
    """Make a job of two parts, the second of which `careless` gets wrong."""

    def check(_peer: str, part: Part, found: Any) -> None:
        expect(found, part.given + 1)

    peers = {
        "careful": lambda: lambda number: number + 1,
        "careless": lambda: lambda number: min(number + 1, 5),
    }
    parts = [Part("small", 1, 10), Part("large", 100, 30)]
    return Job("add", parts, peers, check, frozenset(may_fail))


def test_a_wrong_result_ends_the_run() -> None:
    with pytest.raises(SystemExit, match="add, large: careless is wrong: 5 is not 101"):
        prepare(_job(), "careless")


def test_a_part_that_may_be_wrong_is_left_out() -> None:
    small, large = prepare(_job("careless"), "careless")()
    assert small is not None
    assert small > 0
    assert large is None


def test_ratios_are_over_the_parts_that_all_get_right() -> None:
    taken: dict[str, list[list[float | None]]] = {
        "careful": [[10, 20], [10, 40]],
        "careless": [[30, None], [20, None]],
    }
    results = {"jobs": {"add": summarise(_job().parts, taken)}}
    peers = results["jobs"]["add"]["peers"]
    assert peers["careful"]["all"] == [17.5, 32.5]  # the larger part weighs three times as much
    assert peers["careful"]["common"] == [10, 10]
    assert [peer["right"] for peer in peers.values()] == [2, 1]
    assert ratios(results, "add", "careful", "careless") == [3, 2]
    assert ratios(results, "add", "careful", "nobody") == []
    assert slowest(results, "add", "careful", "careless") == ("small", 2.5)
    assert slowest(results, "add", "careful", "careless", 11) is None


def test_numbers_are_written() -> None:
    assert time_of(999) == "999 ns"
    assert time_of(1234) == "1.23 µs"
    assert quartiles([3, 1, 2]) == (1, 3)
    assert factor([1.0, 1.1, 1.2, 1.3, 1.4]) == "**1.20×** (1.05–1.35)"


# --- gateways ---


def _passes(**times: list[float]) -> sockets.Passes:
    names = {"reference": REFERENCE, "control": CONTROL, "relay": RELAY, "pydantic": PYDANTIC}
    return {
        names[key]: [{"cpu": time * 1000, "p50": 1e6, "p99": 1e6} for time in values]
        for key, values in times.items()
    }


def test_the_control_is_compared_with_the_reference_alone() -> None:
    passes = _passes(reference=[24, 25.3, 27], control=[26, 30.7, 31])
    of_medians, each = sockets.ratio(passes, CONTROL)
    assert of_medians == pytest.approx(30.7 / 25.3)
    assert each == pytest.approx([26 / 24, 30.7 / 25.3, 31 / 27])
    assert sockets.ratio(passes, REFERENCE)[0] == 1
    added, _ = sockets.added(passes, CONTROL)
    assert added == pytest.approx(5400)


def test_what_is_added_is_compared_with_what_the_pydantic_path_adds() -> None:
    passes = _passes(reference=[10] * 5, relay=[12] * 5, pydantic=[16] * 5)
    assert sockets.factor(passes, RELAY) == (3, 3, 3)
    assert sockets.factor(_passes(reference=[10], relay=[9], pydantic=[16]), RELAY)[0] == float(
        "inf"
    )


def test_a_table_of_gateways_shows_what_the_control_differs_by() -> None:
    gateway = {"cpu": 1000.0, "p50": 1e6, "p99": 1e6, "rate": 1.0, "memory": 2**20}
    cell = {
        REFERENCE: [{**gateway, "cpu": 25_300.0}],
        CONTROL: [{**gateway, "cpu": 30_700.0}],
        PYDANTIC: [{**gateway, "cpu": 40_000.0}],
    }
    results = {
        **{key: {"16 streams": cell} for key in ("paced", "full")},
        **dict.fromkeys(("date", "commit", "machine"), "?"),
        "versions": {},
        "resting": dict.fromkeys(cell, 2**20),
        "many": dict.fromkeys(("streams", "slow", "events", "held"), 1),
    }
    lines = end_to_end.section(results).splitlines()
    assert f"| {REFERENCE} | 25.3 µs (25.3–25.3) |" in lines
    assert f"| {CONTROL} | **1.21×** (1.21–1.21) |" in lines
    assert f"| {CONTROL} | 5.40 µs (5.40 to 5.40) |" in lines


# --- pages ---


def test_a_block_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("a\n<!-- benchmarks:x -->\nold\n<!-- /benchmarks -->\nb\n", "utf-8")
    page = pages.with_block(path, "x", "new")
    assert page.text == "a\n<!-- benchmarks:x -->\nnew\n<!-- /benchmarks -->\nb\n"
    assert pages.stale([page]) == ["README.md"]
    assert pages.write([page]) == ["README.md"]
    assert pages.stale([page]) == []
    assert pages.with_block(path, "x", "new") == page
    with pytest.raises(SystemExit, match=r"README\.md has no block named benchmarks:y"):
        pages.with_block(path, "y", "new")


def _results(compiled: float) -> dict[str, Any]:
    """Make a run in which the relay that changes the model takes so many nanoseconds."""
    taken: dict[str, list[list[float | None]]] = {
        "fastchunk": [[compiled, compiled]],
        "fastchunk, pure": [[2000, 1000]],
        ROUTER: [[6000, 6000]],
        "orjson dicts": [[2200, 1800]],
    }
    parts = [Part("short", b"", 2), Part("long", b"", 98)]
    return {
        "machine": "a machine",
        "versions": {"CPython": "3.11.7"},
        "jobs": {
            f"{CHANGE}/{mix}/{case}": summarise(parts, taken)
            for mix in ("recorded", "generated")
            for case in CUTS
        },
    }


def test_the_headline_shows_the_recorded_mix_and_both_packages() -> None:
    block = headline.block(_results(compiled=500))
    rows = [line for line in block.splitlines() if line.startswith("|")]
    shown = " | ".join(["**12.0×** · **5.9×**"] * 3)
    assert rows[2] == f"| change the model | {shown} | short 12.0× · short 3.0× |"
    assert "on the 2 of 2 recorded streams that it takes" in block
    assert block.endswith("fastchunk/main/bench_results/headline.svg)")
    results = _results(compiled=500)
    results["jobs"] = {name: job for name, job in results["jobs"].items() if "recorded" not in name}
    assert "on the 2 of 2 generated streams that it takes" in headline.block(results)


def test_the_page_names_the_slowest_stream() -> None:
    found = "\n".join(streams.streams(_results(compiled=500)))
    assert "| change the model, pure | short: **3.0×** | long: **6.0×** | short: 2.00 µs |" in found


def test_the_page_lists_where_little_is_gained() -> None:
    results = _results(compiled=1700)
    rows = [line for line in least(results).splitlines() if line.startswith("| change")]
    assert len(rows) == 2
    cell = "**1.06×** (1.06–1.06): 1 event a read"
    assert rows[0] == f"| {CHANGE}/generated | orjson dicts | {cell} | – |"
    assert least(_results(compiled=500)) == ""


# --- goals ---


def test_every_goal_is_about_something_that_is_measured() -> None:
    names = {job.name for job in jobs()}
    missing = goals.jobs() - names
    assert all("/recorded" in name or name.endswith("recorded mix") for name in missing)
    assert not (missing and "recorded" in mixes())


@pytest.mark.parametrize(
    ("passes", "verdict"),
    [([7, 8, 9], "met"), ([6, 7, 9], "within noise"), ([6, 7, 7.9], "**missed**")],
)
def test_a_goal_missed_by_less_than_the_passes_differ(passes: list[float], verdict: str) -> None:
    results = _results(compiled=500)
    peers = results["jobs"][f"{CHANGE}/recorded/1 event a read"]["peers"]
    for name, peer in peers.items():
        peer["common"] = passes if name == ROUTER else [1.0] * len(passes)
    results["imports"] = {"nothing": [1.0], "msgspec": [2.0], "fastchunk": [3.0]}
    what = "| change the model, recorded mix, 1 event a read | Pydantic path over fastchunk |"
    (row,) = [line for line in goals.table_of(results).splitlines() if line.startswith(what)]
    assert row.endswith(f"| {verdict} |")


def test_a_goal_is_met_or_missed() -> None:
    times = {"nothing": [1.0], "msgspec": [2.0], "fastchunk": [3.0]}

    def verdicts(compiled: float) -> dict[str, str]:
        table = goals.table_of({**_results(compiled), "imports": times})
        lines = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
        return {f"{what}, {pair}": verdict for what, pair, _, _, verdict in lines}

    what = "change the model, recorded mix, 1 event a read, Pydantic path over fastchunk"
    assert verdicts(compiled=500)[what] == "met"
    assert verdicts(compiled=1000)[what] == "**missed**"
    assert verdicts(compiled=500)["import, fastchunk over msgspec"] == "met"
    assert verdicts(compiled=500)["edit one key, orjson dicts over fastchunk"] == "not measured"


# --- the command ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--only relay --write", "--only is for runs of the library"),
        ("--only relay --end-to-end", "--only is for runs of the library"),
        ("--only relay --gateways", "--only is for runs of the library"),
        ("--gateways --end-to-end", "not allowed with"),
        ("--gateways --install --write", "not allowed with"),
        ("--install", "--install goes with --gateways"),
        ("--check --quick", "go with no other option"),
        ("--targets --write", "go with no other option"),
        ("--render --only relay", "go with no other option"),
        ("--quick --write", "not allowed with"),
        ("--only nothing-has-this-name", "no job's name contains 'nothing-has-this-name'"),
    ],
)
def test_options_that_do_not_go_together(
    options: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", *options.split()])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
