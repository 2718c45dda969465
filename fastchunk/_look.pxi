# A read of whole server-sent events, each decoded and shown to somebody who may change it.

cdef object NOT_TAKEN = object()


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
        cdef At base = <At>PyBytes_AS_STRING(data), p = base + begin, kept = p
        cdef At end = base + PyBytes_GET_SIZE(data)
        cdef Block block
        cdef Buffer out = Buffer(NULL, 0, 0)
        cdef bytes event
        cdef bint changed = False
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
                    left = self._left_of(event)
                    if left is NOT_TAKEN:
                        break
                    if left is not event:
                        changed = True
                        self._append(&out, kept, p - kept)
                        kept = p
                        if type(left) is tuple:
                            before, left = <tuple>left
                            self._append_bytes(&out, before)
                        if left is not None:
                            self._append(&out, p, block.data - p)
                            self._append_bytes(&out, left)
                            self._append(&out, block.data_end, block.next - block.data_end)
                        kept = block.next
                p = block.next
            self.at = p - base
            if not changed:
                return data if begin == 0 and p == end else data[begin : self.at]
            self._append(&out, kept, p - kept)
            return PyBytes_FromStringAndSize(<const char*>out.data, out.length)
        except BaseException:
            self.done = PyBytes_FromStringAndSize(<const char*>out.data, out.length)
            self.done += data[kept - base : p - base]
            self.at = 0
            raise
        finally:
            PyMem_Free(out.data)

    cdef object _left_of(self, bytes event):
        """Return what leaves of an event, or NOT_TAKEN."""
        cdef Alike alike = self.alike
        if alike is not None and alike._find(event):
            if alike.passes and alike._known(alike.number).does_nothing:
                left = event
            else:
                left = self.look_alike(event, alike._said(alike.number)[2], alike._text(event))
            if left is not None:
                alike._note_found(event)
                return left
        chunk = self.reader.read(event)
        return NOT_TAKEN if chunk is None else self.look(event, chunk)

    cdef int _append(self, Buffer* out, At data, Py_ssize_t length) except -1:
        if not append(out, data, length):
            raise MemoryError
        return 0

    cdef int _append_bytes(self, Buffer* out, bytes data) except -1:
        return self._append(out, <At>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
