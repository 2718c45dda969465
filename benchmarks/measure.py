"""What no loop in one process can time: memory held, and the cost of an import.

Run by `python -m benchmarks`, each measurement in a process of its own.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

from .peers import PEERS, Case, Peer

IMPORTS = {
    "fastchunk": "import fastchunk",
    "msgspec": "import msgspec",
    "Pydantic model": "from ray.serve.llm.openai_api_models import ChatCompletionStreamResponse",
    "orjson, dicts": "import orjson",
}
CASES = ("text delta", "logprobs, 5 alternatives", "tool-call delta", "recorded mix")


def memory(peer_name: str, cases: dict[str, Case], count: int) -> dict[str, float]:
    """Measure the bytes that Python's allocators have handed out for a decoded chunk, by case.

    The documents differ, as they do in a stream.
    """
    peer = PEERS[peer_name]()
    held = {}
    for name in CASES:
        if name not in cases or not _is_right(peer, cases[name]):
            continue
        inputs = [document.encode() for document in cases[name]["documents"]]
        chunks: list[Any] = [None] * count
        gc.collect()
        tracemalloc.start()
        for i in range(count):
            chunks[i] = peer.decode(inputs[i % len(inputs)])
        held[name] = tracemalloc.get_traced_memory()[0] / count
        tracemalloc.stop()
    return held


def _is_right(peer: Peer, case: Case) -> bool:
    for document, dump in zip(case["documents"], case["dumps"], strict=True):
        try:
            decoded = peer.dump(peer.decode(document.encode()))
        except ValueError:  # the floor refuses what the exact path accepts
            return False
        if decoded != (dump if peer.typed else json.loads(document)):
            return False
    return True


def import_time(statement: str) -> float:
    """Time a fresh interpreter that runs `statement`, in seconds, its own start included."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    all_cases = json.loads(Path(sys.argv[2]).read_text("utf-8"))
    sys.stdout.write(json.dumps(memory(sys.argv[1], all_cases, int(sys.argv[3]))))
