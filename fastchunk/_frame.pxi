# A stream's framing: where the blocks of server-sent events begin and end.

cdef struct Block:
    At data, data_end  # of its one data line; NULL if it dispatches nothing
    At event, event_end
    At next  # behind its empty line


cdef bint cut_block(At p, At end, Block* block) noexcept nogil:
    """Find the block that begins at `p`; a comment that opens one is a block of its own.

    False if it is not whole, or not plain: several data lines, a bare CR, a byte order mark.
    """
    cdef At line_end
    cdef bint opens = True
    block.data = block.event = NULL
    block.data_end = block.event_end = NULL
    while True:
        line_end = <At>memchr(p, c'\n', end - p)
        if line_end == NULL:
            return False
        block.next = line_end + 1
        if line_end > p and (line_end - 1)[0] == c'\r':
            line_end -= 1
        if line_end == p:
            return True
        if line_end - p >= 5 and memcmp(p, "data:", 5) == 0:
            if block.data != NULL:
                return False
            block.data = p + 6 if p[5] == c' ' else p + 5
            block.data_end = line_end
        elif memchr(p, c'\r', line_end - p) != NULL or p[0] == 0xEF:
            return False
        elif p[0] == c':':
            if opens:
                return True
        elif line_end - p >= 6 and memcmp(p, "event:", 6) == 0:
            if block.event != NULL:
                return False
            block.event = p + 7 if p[6] == c' ' else p + 6
            block.event_end = line_end
        elif line_end - p == 4 and memcmp(p, "data", 4) == 0:
            return False
        elif line_end - p == 5 and memcmp(p, "event", 5) == 0:
            return False
        opens = False
        p = block.next


cdef list cut_data(bytes whole, int returns, make):
    """Cut blocks of the shape `data: ...` and an empty line into data; None: another shape.

    `returns` is how many carriage returns are in a line end. Where `make` is not None, it makes
    what is listed of each block's data.
    """
    cdef At p = <At>PyBytes_AS_STRING(whole), end = p + PyBytes_GET_SIZE(whole), line_end
    cdef list found = []
    if (memchr(p, c'\r', end - p) != NULL) != returns:
        return None
    while p < end:
        if end - p < 8 or memcmp(p, "data: ", 6) != 0:
            return None
        p += 6
        line_end = <At>memchr(p, c'\n', end - p)
        if line_end == NULL or end - line_end < 2 + returns or line_end[1 + returns] != c'\n':
            return None
        if returns:
            if (line_end - 1)[0] != c'\r' or line_end[1] != c'\r':
                return None
            if memchr(p, c'\r', line_end - 1 - p) != NULL:
                return None
        data = PyBytes_FromStringAndSize(<const char*>p, line_end - returns - p)
        found.append(data if make is None else make(data))
        p = line_end + 2 + returns
    return found


def cut_plain(bytes whole not None):
    """Cut whole blocks of the shape `data: ...` and an empty line into data.

    Returns each block's data, and the two line ends behind it, the same for all; None if there is
    a block of another shape.
    """
    cdef Py_ssize_t size = PyBytes_GET_SIZE(whole)
    cdef bint returns
    if size < 8:
        return None
    returns = PyBytes_AS_STRING(whole)[size - 3] == c'\n'
    found = cut_data(whole, returns, None)
    return None if found is None else (found, b"\r\n\r\n" if returns else b"\n\n")


def plain_events(bytes whole not None, make not None):
    """Make an event of each block's data; None if there is a block of another shape, or a CRLF."""
    return cut_data(whole, False, make) if PyBytes_GET_SIZE(whole) else None


cdef inline bint is_error(At p, At end) noexcept nogil:
    return end - p == 5 and memcmp(p, "error", 5) == 0


cdef inline bint is_done(At p, At end) noexcept nogil:
    return end - p == 6 and memcmp(p, "[DONE]", 6) == 0


cdef class Tally:
    """What a stream has said so far: how many chunks and other events, and what was in them."""

    cdef public Py_ssize_t chunks, others
    cdef public bint done
    cdef public object usage_data
    cdef public set indexes
    cdef public dict finish_reasons

    def __init__(self):
        self.chunks = self.others = 0
        self.done = False
        self.usage_data = None
        self.indexes, self.finish_reasons = set(), {}

    def note(self, chunk):
        """Take note of a chunk: of its choices, of their finish reasons, and of its usage."""
        cdef Slots unknown = Slots(NULL)
        self.note_fields(chunk.choices, chunk.usage, &unknown)

    cdef int note_fields(self, choices, usage, const Slots* slots) except -1:
        """Do so with the fields of one; `slots` are the index and finish reason of a choice."""
        cdef Py_ssize_t position = 0
        if choices is not None and choices is not UNSET:
            for choice in <list?>choices:
                if is_of(choice, slots):
                    index, reason = slot(choice, slots, 0), slot(choice, slots, 1)
                else:
                    index, reason = choice.index, choice.finish_reason
                if type(index) is not int:
                    index = position
                if index not in self.indexes:
                    self.indexes.add(index)
                if type(reason) is str and reason:
                    self.finish_reasons[index] = reason
                position += 1
        if usage is not None and usage is not UNSET:
            # Whoever gets the chunk may change its usage, so it is not the Struct that is kept.
            data = bytes(usage) if type(usage) is Raw else encode_json(usage)
            if data[:1] == b"{":
                self.usage_data = data
        self.chunks += 1
        return 0
