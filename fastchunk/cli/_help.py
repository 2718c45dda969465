"""What `--help` says, with examples."""

from __future__ import annotations

import re

from fastchunk.sse import MAX_EVENT_SIZE

__all__ = ["CHECK", "GATEWAY", "READ"]


def _fill(text: str) -> str:
    """Join the lines of each paragraph, for the terminal to wrap; indented lines stay apart."""
    return re.sub(r"(?<=\S)\n(?=\S)", " ", text.strip())


_EXIT_STATUS = """
[bold]Exit status[/]
  0    {fine}
  1    {problem}
  2    wrong usage, or input or output that fails
  130  interrupted
  141  nobody reads the output any more
"""

READ = _fill(
    """
Show a stream: its text as it comes, or another view of it.

Its events say what it is a stream of: chat completions, completions, Anthropic Messages or OpenAI
Responses. It is read up to its end, which is [DONE], or the event that ends a message or a
response. Its problems, which are those of [bold]fastchunk check[/], go to standard error.

[bold]Examples[/]
  curl -sSN URL | fastchunk read -
  fastchunk read --json stream.sse | jq .choices
  fastchunk read --answer stream.sse
  fastchunk read --stats stream.sse
"""
    + _EXIT_STATUS.format(fine="no problem", problem="a problem")
)

CHECK = _fill(
    f"""
Report everything odd about a stream.

Each oddity is one line, with its event's number and its offset in bytes.

[bold]Problems[/] are what fastchunk cannot read:
  invalid-json     the data of an event is not JSON
  invalid-chunk    it is JSON, but does not have the shape of a chunk
  error-event      the server sent an error
  too-large        an event is larger than {MAX_EVENT_SIZE >> 20} MiB
  truncated        the end came before [DONE], an error or every finish reason; or what the API
                   has in their place
  no-event-stream  the input is something else, such as a JSON or HTML page
  empty            there is no input

[bold]Notes[/] are what another client may trip over; each has its first place and its count:
  no-done          the stream is complete, but without [DONE], or what the API has in its place
  after-done       the input goes on after that
  no-chunk         an event is neither a chunk nor an error
  duplicate-key    an object has a key twice; parsers disagree on which counts
  not-a-number     NaN or Infinity, which JSON does not have
  too-deep         a document is nested too deeply to be looked at
  unknown-key      the stream's family, such as fastchunk.wire, does not know a key
  unknown-type     the family does not know the type of an event
  mirror-rejects   fastchunk.models cannot read a chunk
  mirror-drops     fastchunk.models does not write a value of a chunk again
  mirror-changes   fastchunk.models writes a value of a chunk differently
  ignored-line     a line is not a field of an event
  no-empty-line    the last block lacks the empty line that ends it
  carriage-return  lines end with CRLF or CR
  bom              the stream begins with a byte order mark
  more             there are too many different notes to count one by one

[bold]Examples[/]
  fastchunk check stream.sse
  curl -sSN URL | fastchunk check -
  fastchunk check stream.sse | grep mirror-
  fastchunk check --json stream.sse | jq 'select(.level == "problem")'
"""
    + _EXIT_STATUS.format(
        fine="no problem; with --strict, no note either",
        problem="a problem; with --strict, a problem or a note",
    )
)

GATEWAY = _fill("""
Run a streaming gateway in front of an OpenAI-compatible server, or of one that speaks Anthropic's
Messages.

It needs the extra [bold]gateway[/], and runs until SIGTERM or SIGINT; open answers may then still
finish.

[bold]Examples[/]
  fastchunk gateway --demo
  fastchunk gateway --upstream http://127.0.0.1:8001 --alias fast=llama-3.1-8b
  fastchunk gateway --upstream http://127.0.0.1:8001 --redact secrets.txt

[bold]The file of --redact[/] has a rule a line. It is found however the upstream cuts the text into
events; what cannot be checked is withheld:
  Project Falcon              a string, replaced by \\[redacted]
  Project Falcon => a plane   a string, and what replaces it
  /sk-\\w{20,64}/              a pattern in the syntax of Python's re
  /falcon/i => a plane        a pattern that ignores case; other flags are a, m, s, x
  # a comment

[bold]Keys[/] come from the environment, because lists of processes show the command line:
  FASTCHUNK_UPSTREAM_KEY  is sent to the upstream, instead of the client's key
  FASTCHUNK_CLIENT_KEY    is what clients have to send, in Authorization or x-api-key

[bold]Exit status[/]
  0  it was told to stop
  1  the extra is not installed
  2  wrong usage
  3  it cannot listen
""")
