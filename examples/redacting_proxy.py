"""A gateway that keeps words out of what a model says.

    fastchunk gateway --demo
    python examples/redacting_proxy.py

Ask http://127.0.0.1:8080 what you would ask the server. Chat completions alone are redacted.
"""

import os
import re
from functools import partial

from fastchunk import Relay
from fastchunk.gateway import serve

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:8000")
PORT = int(os.environ.get("PORT", "8080"))
SECRET = re.compile("demonstration|gateway")
SECRET_BYTES = re.compile(SECRET.pattern.encode())


def redact(chunk):
    """Redact a chunk; return it if that changed it."""
    changed = None
    for choice in chunk.choices or ():
        if choice.delta and SECRET.search(choice.delta.text):
            choice.delta.content = SECRET.sub("[redacted]", choice.delta.text)
            choice.logprobs = None  # they spell the text out
            changed = chunk
    return changed


def redact_answer(data):
    """Redact the JSON of an answer that is not streamed."""
    return SECRET_BYTES.sub(b"[redacted]", data)


if __name__ == "__main__":
    serve(UPSTREAM, port=PORT, relay=partial(Relay, on_chunk=redact), on_answer=redact_answer)
