"""Read, change and write the streamed chunks of OpenAI-compatible chat completions, fast."""

from .accumulate import Accumulator
from .codec import encode, encode_event
from .edit import DROP, edit
from .errors import EventTooLarge, FastchunkError, InvalidChunk, TruncatedStream, UpstreamError
from .models import decode
from .producer import StreamEncoder
from .relay import Relay
from .scan import compiled
from .sse import DONE, Event, EventDecoder, format_event
from .stream import ChunkStream, aiter_chunks, iter_chunks

__all__ = [
    "DONE",
    "DROP",
    "Accumulator",
    "ChunkStream",
    "Event",
    "EventDecoder",
    "EventTooLarge",
    "FastchunkError",
    "InvalidChunk",
    "Relay",
    "StreamEncoder",
    "TruncatedStream",
    "UpstreamError",
    "__version__",
    "aiter_chunks",
    "compiled",
    "decode",
    "edit",
    "encode",
    "encode_event",
    "format_event",
    "iter_chunks",
]

__version__ = "0.2.0"
