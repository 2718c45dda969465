"""What `--help` says, with examples."""

from __future__ import annotations

import re

__all__ = ["CHECK", "GATEWAY", "READ"]


def _flowing(text: str) -> str:
    """Join the lines of a paragraph, which are shown as they are; indented lines stay apart."""
    return re.sub(r"(?<=\S)\n(?=\S)", " ", text.strip())


READ = _flowing("""
Show a stream: its text as it comes, or one of the other views.

It is read up to [DONE]. What is wrong with it is said on standard error.

[bold]Examples[/]
  curl -N URL | fastchunk read -
  fastchunk read --json stream.sse | jq .choices
  fastchunk read --answer stream.sse
  fastchunk read --stats stream.sse

[bold]Exit status[/]
  0  the stream is whole
  1  it carries an error, or what is no chunk, or is truncated
  2  wrong usage, or what cannot be read or written
  130, 141  interrupted; nobody takes the output any more
""")

CHECK = _flowing("""
Report what is odd about a stream: one line each, with the event's number and its place.

A problem is what some client fails at, or loses something by: invalid-json, invalid-chunk,
too-deep, too-large, duplicate-key, error-event, truncated, no-done, after-done.

A note is what clients ought to take in their stride, with its first place and its count:
unknown-key (of fastchunk.wire); mirror-rejects, mirror-drops, mirror-changes (fastchunk.models, the
model of Ray Serve); no-chunk, ignored-line, no-empty-line, carriage-return, bom.

[bold]Examples[/]
  fastchunk check stream.sse
  curl -N URL | fastchunk check -
  fastchunk check stream.sse | grep mirror-
  fastchunk check --json stream.sse | jq 'select(.level == "problem")'

[bold]Exit status[/]
  0  no problem; with --strict, no note either
  1  problems
  2  wrong usage, or what cannot be read or written
  130, 141  interrupted; nobody takes the output any more
""")

GATEWAY = _flowing("""
Run a streaming gateway in front of an OpenAI-compatible server; needs the extra [bold]gateway[/].

It relays what it reads until SIGTERM or SIGINT; open answers may then still finish.

[bold]Examples[/]
  fastchunk gateway --demo
  fastchunk gateway --upstream http://127.0.0.1:8001 --alias fast=llama-3.1-8b

[bold]Keys[/] come from the environment, where a list of processes does not show them:
  FASTCHUNK_UPSTREAM_KEY  is sent to the upstream, in place of what the client sends
  FASTCHUNK_CLIENT_KEY    is what clients have to send

[bold]Exit status[/]
  0  it was told to end
  1  the extra is not installed
  2  wrong usage
  3  it cannot listen
""")
