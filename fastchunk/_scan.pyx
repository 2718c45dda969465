# cython: language_level=3
"""The compiled scanner: what `scan` does in Python, and a stream's plain events without returning to it.

In:  bytes: one JSON document, or a read of server-sent events.
Out: where the named values are; the document with some of them replaced; the read as it leaves.
Cost: one pass; for an event that differs from one before in a few strings or numbers, a comparison.

Whatever is taken here is proven to be what the exact path would find: one JSON document (RFC 8259,
UTF-8 included), nested less than `MAX_DEPTH` deep. Whatever is not plain is left to that path: an
interesting key that comes twice or is spelled with an escape, a lone surrogate, a number that may be
out of range. So "no" is always safe to say, and every function here says it with NULL or None.

No byte behind the end is read: every token ends at a byte that cannot be part of it, and what a
pointer called `end` points at is such a byte, a line end or the NUL behind a bytes object.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Keys, PyDict_Next, PyDict_Size, PyDict_Values
from cpython.list cimport PyList_AsTuple
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.object cimport PyObject, Py_TYPE
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, uint8_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset

from functools import update_wrapper

from msgspec import UNSET, DecodeError, Raw
from msgspec.json import Decoder, encode as encode_json

ctypedef const uint8_t* At

cdef enum:
    MAX_DEPTH = 64
    MAX_PATHS = 32
    MAX_PIECES = 40
    MAX_FREE = 48  # strings and numbers of an event that may differ in the next one
    MAX_SHIFTS = 12  # of which so many do
    MAX_SIGNATURE = 512
    MAX_KEYS = 48  # of an object in which no key may come twice
    MAX_TEXTS = 8  # strings that are the text of an event
    MAX_TEXT_KEYS = 8
    MAX_SHARED = 256  # signatures that the forwarders of a table share
    MAX_OWN = 16  # further ones that a forwarder learns for itself
    MAX_LIKE = 8192  # bytes of an event that others are compared with
    MAX_DELTAS = 4
    KEPT_BUFFER = 65536
    MAX_LEVELS = 200  # of nesting that the exact path takes, too
    MAX_DIGITS = 4300

include "_json.pxi"
include "_walk.pxi"
include "_splice.pxi"
include "_slots.pxi"
include "_gather.pxi"
include "_frame.pxi"
include "_recognize.pxi"
include "_forward.pxi"
include "_read.pxi"
include "_alike.pxi"
include "_look.pxi"
