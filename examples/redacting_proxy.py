"""A gateway that keeps words out of what a model says.

    fastchunk gateway --demo
    python examples/redacting_proxy.py

Ask http://127.0.0.1:8080 what you would ask the server, through any of its APIs, streamed or not.
"""

import os

from fastchunk.gateway import serve
from fastchunk.text import Replace

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:8000")
PORT = int(os.environ.get("PORT", "8080"))
SECRETS = ["demonstration", "gateway"]

if __name__ == "__main__":
    # What no rule can read is withheld, however a server cuts or spells it.
    serve(UPSTREAM, port=PORT, text=[Replace(SECRETS, "[redacted]")], on_invalid="raise")
