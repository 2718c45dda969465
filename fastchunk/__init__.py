"""Read, change and write the streamed chunks of OpenAI-compatible chat completions, fast."""

from .codec import encode, encode_event
from .errors import FastchunkError, InvalidChunk
from .models import decode

__all__ = ["FastchunkError", "InvalidChunk", "__version__", "decode", "encode", "encode_event"]

__version__ = "0.1.0"
