# What is decoded without returning to Python: a document, or a read of whole server-sent events.


cdef Py_ssize_t count_openings(At p, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t count = 0, i, part
    cdef uint8_t few  # a byte holds the count of so many, so that a compiler takes 16 at once
    while size:
        part = min(size, 255)
        few = 0
        for i in range(part):
            few += (p[i] | 0x20) == c'{'  # [ and { differ in that bit
        count += few
        p += part
        size -= part
    return count


cdef inline bint is_harmless(data) except -1:
    """Tell whether a document is UTF-8, and too short for numbers and nesting out of bounds."""
    cdef At p
    cdef Py_ssize_t size
    if type(data) is bytes:
        p = <At>PyBytes_AS_STRING(data)
        size = PyBytes_GET_SIZE(data)
    elif type(data) is str and (<str>data).isascii():
        p = <At>PyUnicode_AsUTF8AndSize(data, &size)
    else:
        return False
    # Each level takes two brackets.
    if size > MAX_DIGITS or (size > 2 * MAX_LEVELS and count_openings(p, size) > MAX_LEVELS):
        return False
    return is_utf8(p, p + size)


def guarded_decoder(fast, otherwise):
    """Build a decode function: `fast` decodes what is harmless, `otherwise` decides the rest."""

    def decode(data):
        """Decode one JSON document.

        Takes bytes, a bytearray, a memoryview or a str, and keeps no reference to it. Raises
        `InvalidChunk` for data that is not a chunk, `TypeError` for anything else.
        """
        if is_harmless(data):
            try:
                return fast(data)
            except (ValueError, RecursionError):
                pass  # decided below, so that its error has no misleading context
        return otherwise(data)

    return decode


cdef class Reader:
    """Decodes chunks that ask for no decision, up to `[DONE]`."""

    cdef Tally tally
    cdef object decode, done
    cdef dict notes
    cdef object chunk_type, choice_type  # what the slots are of
    cdef Slots chunk_slots, choice_slots
    cdef Py_ssize_t limit, at
    cdef public bint ready

    def __cinit__(self, decode, Tally tally not None, Py_ssize_t limit, dict notes=None):
        """Take a decode function for UTF-8, in which what is absent is `UNSET`.

        `notes` has by the type of an event what takes note of what it says of its stream, or None
        if it says nothing; others ask for a decision. Without it, it decodes chunks.
        """
        self.decode, self.tally, self.limit, self.notes = decode, tally, limit, notes
        self.ready = False
        self.done = []

    cpdef feed(self, data):
        """Take a read of whole events and return its chunks; None if some of it is for `rest`."""
        if not self.ready or type(data) is not bytes:
            return None
        chunks = self._read(<bytes>data, 0)
        if self.at == PyBytes_GET_SIZE(<bytes>data):
            self.at = 0
            return chunks
        self.done, self.ready = chunks, False
        return None

    def rest(self):
        """Return the chunks that `feed` has decoded already, and how many bytes of the read."""
        done, at = self.done, self.at
        self.done, self.at = [], 0
        self.ready = False
        return done, at

    def forward(self, bytes data not None, Py_ssize_t begin):
        """Decode events from `begin` up to one that asks for a decision: the chunks, and where."""
        if not 0 <= begin <= PyBytes_GET_SIZE(data):
            raise IndexError(begin)
        chunks = self._read(data, begin)
        at, self.at = self.at, 0
        return chunks, at

    cpdef read(self, bytes data):
        """Decode one event's data; None if it asks for a decision."""
        cdef At p
        if data is None:
            raise TypeError("data must be bytes")
        p = <At>PyBytes_AS_STRING(data)
        if not is_utf8(p, p + PyBytes_GET_SIZE(data)):
            return None
        try:
            chunk = self.decode(data)
            if is_of(chunk, &self.chunk_slots):
                return self._take(chunk)
            if self.notes is not None:
                note = self.notes.get(type(chunk), self)
                if note is self:
                    return None
                if note is not None:
                    note(chunk, self.tally)
                self.tally.chunks += 1
                return chunk
            error = chunk.error
            if chunk.choices is UNSET or not (error is None or error is UNSET):
                return None
            self._learn(chunk)
            self.tally.note_fields(chunk.choices, chunk.usage, &self.choice_slots)
            return chunk
        except (DecodeError, RecursionError):
            return None

    cdef object _take(self, chunk):
        """Do the same with a chunk of the usual type."""
        choices, usage = slot(chunk, &self.chunk_slots, 0), slot(chunk, &self.chunk_slots, 1)
        error = slot(chunk, &self.chunk_slots, 2)
        if choices is UNSET or not (error is None or error is UNSET):
            return None
        self.tally.note_fields(choices, usage, &self.choice_slots)
        return chunk

    cdef int _learn(self, chunk) except -1:
        """Find where chunks of this type have their fields, and their choices theirs."""
        if chunk.choices:
            self.chunk_type, self.choice_type = type(chunk), type(chunk.choices[0])
            find_slots(&self.choice_slots, self.choice_type, ("index", "finish_reason"))
            find_slots(&self.chunk_slots, self.chunk_type, ("choices", "usage", "error"))
        return 0

    cdef list _read(self, bytes data, Py_ssize_t begin):
        cdef At base = <At>PyBytes_AS_STRING(data), p = base + begin
        cdef At end = base + PyBytes_GET_SIZE(data)
        cdef Block block
        cdef list chunks = []
        while p < end and cut_block(p, end, &block) and block.next - p <= self.limit:
            if block.data != NULL:
                if is_done(block.data, block.data_end):
                    self.tally.others += 1
                    self.tally.done, self.ready = True, False
                    p = block.next  # what comes behind it may be unfinished, or too large
                    break
                if block.event != NULL and is_error(block.event, block.event_end):
                    break
                if memchr(block.data, c'\r', block.data_end - block.data):
                    break
                chunk = self.read(
                    PyBytes_FromStringAndSize(
                        <const char*>block.data, block.data_end - block.data
                    )
                )
                if chunk is None:
                    break
                chunks.append(chunk)
                if self.tally.done:
                    self.ready = False
                    p = block.next  # what comes behind it may be unfinished, or too large
                    break
            p = block.next
        self.at = p - base
        return chunks


cdef class Chunks:
    """Iterates over the chunks of a stream's reads."""

    cdef object reads, take, end
    cdef Reader reader
    cdef Tally tally
    cdef list items  # of the last read
    cdef Py_ssize_t at
    cdef bint ended

    def __cinit__(self, reads, Reader reader, take, end, Tally tally not None):
        self.reads, self.reader, self.take, self.end = reads, reader, take, end
        self.tally, self.items = tally, []

    def __iter__(self):
        return self

    def __next__(self):
        while self.at >= len(self.items):
            if self.ended:
                raise StopIteration
            self._read_on()
        item = self.items[self.at]
        self.at += 1
        if isinstance(item, BaseException):
            self.items, self.ended = [], True
            raise item
        return item

    cdef int _read_on(self) except -1:
        self.ended = True  # unless there is a read, and nothing is raised
        self.items, self.at = [], 0
        if self.tally.done:
            return 0
        data = next(self.reads, self)
        if data is self:
            self.items = self.end()
            return 0
        items = None if self.reader is None else self.reader.feed(data)
        self.items = self.take(data) if items is None else items
        self.ended = False
        return 0


def iterate(reads, reader, take, end, tally):
    """Iterate over the chunks of reads, up to where the tally says that the stream is done.

    `take` gets a read that the reader leaves, and `end` is called behind the last one. Both return
    lists of chunks; an error among them is raised in its place, and ends the iteration.
    """
    return Chunks(reads, reader, take, end, tally)
