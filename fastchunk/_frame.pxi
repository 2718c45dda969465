# A stream's framing: where the blocks of server-sent events begin and end.

cdef struct Block:
    At data, data_end  # of its one data line; NULL if it dispatches nothing
    At event, event_end
    At next  # behind its empty line
    bint has_others  # whether there are lines of other fields


cdef bint cut_block(At p, At end, Block* block) noexcept nogil:
    """Find the block that begins at `p`; a comment that opens one is a block of its own.

    False if it is not whole, or not plain: several data lines, a bare CR, a byte order mark.
    """
    cdef At line_end
    cdef bint opens = True
    block.data = block.event = NULL
    block.data_end = block.event_end = NULL
    block.has_others = False
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
        else:
            block.has_others = True
        opens = False
        p = block.next


def cut_plain(bytes whole not None):
    """Cut whole blocks of the shape `data: ...` and an empty line into data.

    Returns each block's data, and the two line ends behind it, the same for all; None if there is
    a block of another shape.
    """
    cdef At p = <At>PyBytes_AS_STRING(whole), end = p + PyBytes_GET_SIZE(whole)
    cdef int returns  # in each line end
    cdef Block block
    cdef list found = []
    if end - p < 8:
        return None
    returns = end[-3] == c'\n'
    if (memchr(p, c'\r', end - p) != NULL) != returns:
        return None
    while p < end:
        if not cut_usual(p, end, returns, &block):
            return None
        found.append(
            PyBytes_FromStringAndSize(<char*>block.data, block.data_end - block.data)
        )
        p = block.next
    return found, b"\r\n\r\n" if returns else b"\n\n"


def plain_events(bytes whole not None, make not None, str last_id=""):
    """Make an event of each block that has data; None if one is not whole, or not plain.

    `make` takes the data, and, where they are not the usual ones, the type, the id, and the block
    if it is of another shape than `data: ...` and an empty line.
    """
    cdef At p = <At>PyBytes_AS_STRING(whole), end = p + PyBytes_GET_SIZE(whole)
    cdef bint returns = memchr(p, c'\r', end - p) != NULL
    cdef Block block
    cdef list events = []
    while p < end:
        if returns or not cut_usual(p, end, 0, &block):
            if not cut_block(p, end, &block) or block.has_others:
                return None
        if block.data != NULL:
            if returns and memchr(block.data, c'\r', block.data_end - block.data) != NULL:
                return None
            data = PyBytes_FromStringAndSize(<char*>block.data, block.data_end - block.data)
            if block.data != p + 6 or block.data_end != block.next - 2:
                whole_block = PyBytes_FromStringAndSize(<char*>p, block.next - p)
                events.append(make(data, type_of(&block), last_id, whole_block))
            elif last_id:
                events.append(make(data, "message", last_id))
            else:
                events.append(make(data))
        p = block.next
    return events


cdef inline bint cut_usual(At p, At end, int returns, Block* block) noexcept nogil:
    """Find the block that begins at `p` if it is `data: ...` and an empty line.

    `returns` is how many carriage returns are in each line end. Where that is none, nobody looks
    for one in the data.
    """
    cdef At line_end
    if end - p < 8 or memcmp(p, "data: ", 6) != 0:
        return False
    p += 6
    line_end = <At>memchr(p, c'\n', end - p)
    if line_end == NULL or end - line_end < 2 + returns or line_end[1 + returns] != c'\n':
        return False
    if returns:
        if (line_end - 1)[0] != c'\r' or line_end[1] != c'\r':
            return False
        if memchr(p, c'\r', line_end - 1 - p) != NULL:
            return False
    block.data, block.data_end, block.next = p, line_end - returns, line_end + 2 + returns
    return True


cdef str type_of(const Block* block):
    if block.event == block.event_end:
        return "message"
    return PyUnicode_DecodeUTF8(<char*>block.event, block.event_end - block.event, "replace")


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
