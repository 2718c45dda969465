# A read of whole server-sent events, each decoded and shown to somebody who may change it.


cdef class Looker:
    """Passes on what a function says of each chunk, and leaves what asks for another decision."""

    cdef Reader reader
    cdef Alike alike
    cdef object look, look_alike, done
    cdef Py_ssize_t limit, at
    cdef public bint ready

    def __cinit__(
        self,
        Reader reader not None,
        look,
        Py_ssize_t limit,
        Alike alike=None,
        look_alike=None,
    ):
        """Take what decodes events, and the function that is called with its data and a chunk.

        It returns the data if the chunk is to leave as it came, other data to take its place, or
        None to withhold it; or a pair of whole blocks that go before it and of that.

        If there is `alike`, an event that it recognizes is not decoded: `look_alike` is called with
        its data, what is known of it, and its text. It returns the same, but None has the event
        decoded after all.
        """
        self.reader, self.look, self.limit = reader, look, limit
        self.alike, self.look_alike = alike, look_alike
        self.ready = False
        self.done = b""

    def feed(self, data):
        """Take a read of whole events and return what leaves; None if some of it is for `rest`."""
        if not self.ready or type(data) is not bytes:
            return None
        self.ready = False  # unless nothing is raised
        out = self._forward(<bytes>data, 0)
        if self.at == PyBytes_GET_SIZE(<bytes>data):
            self.at, self.ready = 0, True
            return out
        self.done = out
        return None

    def rest(self):
        """Return what has been passed on already, and how many bytes of the read that was."""
        done, at = self.done, self.at
        self.done, self.at = b"", 0
        self.ready = False
        return done, at

    def forward(self, bytes data not None, Py_ssize_t begin):
        """Pass events on from `begin` up to one that asks for a decision: what leaves, and where."""
        if not 0 <= begin <= PyBytes_GET_SIZE(data):
            raise IndexError(begin)
        out = self._forward(data, begin)
        at, self.at = self.at, 0
        return out, at

    cdef object _forward(self, bytes data, Py_ssize_t begin):
        cdef At base = <At>PyBytes_AS_STRING(data), p = base + begin
        cdef At end = base + PyBytes_GET_SIZE(data)
        cdef Py_ssize_t kept = begin  # from where on nothing has been written yet
        cdef Block block
        cdef list parts = []
        cdef bytes event
        try:
            while p < end and cut_block(p, end, &block) and block.next - p <= self.limit:
                if block.data != NULL:
                    if block.event != NULL and is_error(block.event, block.event_end):
                        break
                    if memchr(block.data, c'\r', block.data_end - block.data):
                        break
                    event = PyBytes_FromStringAndSize(
                        <const char*>block.data, block.data_end - block.data
                    )
                    self.at = p - base
                    left = None
                    if self.alike is not None and self.alike._find(event):
                        left = self.look_alike(
                            event, self.alike._said(self.alike.number)[2], self.alike._text(event)
                        )
                        if left is not None:
                            self.alike._note_found(event)
                    if left is None:
                        chunk = self.reader.read(event)
                        if chunk is None:
                            break
                        left = self.look(event, chunk)
                    if left is not event:
                        parts.append(data[kept : p - base])
                        if type(left) is tuple:
                            before, left = <tuple>left
                            parts.append(before)
                        kept = block.next - base
                        if left is not None:
                            parts.append(data[p - base : block.data - base])
                            parts.append(left)
                            parts.append(data[block.data_end - base : kept])
                p = block.next
        except BaseException:
            self.done = b"".join(parts) + data[kept : self.at]
            self.at = 0
            raise
        self.at = p - base
        if not parts:
            return data if begin == 0 and p == end else data[begin : self.at]
        parts.append(data[kept : self.at])
        return b"".join(parts)
