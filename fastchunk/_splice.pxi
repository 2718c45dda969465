# One document, with some of its values changed.


def splice(bytes data not None, Table table not None, values not None):
    """Make changes to a document: one encoded value a path, None to remove what is there.

    Returns the document itself if nothing changes, and None if it is not plain.
    """
    cdef Change changes[MAX_PATHS]
    if table.nodes == NULL:
        return None
    table.read_changes(values, changes)
    return spliced(data, table, changes)


def quick_editor(table_of, encode, drop, otherwise):
    """Build an edit function: what is plain is edited here, `otherwise` takes the rest."""
    cdef Tables tables = Tables(table_of)

    def edit(data, changes):
        if type(data) is bytes and type(changes) is dict and len(<dict>changes) <= MAX_PATHS:
            table = tables.of(<dict>changes)
            if table is None:  # the tests have exchanged the scanner
                return otherwise(data, changes)
            try:
                edited = splice_values(<bytes>data, <Table>table, <dict>changes, encode, drop)
            except (RecursionError, UnicodeEncodeError):
                edited = None  # the exact way says of which value
            if edited is not None:
                return edited
        return otherwise(data, changes)

    return update_wrapper(edit, otherwise)


@cython.final
cdef class Tables:
    """The tables of changes, by their names."""

    cdef object table_of
    cdef dict known
    cdef Table last  # most changes have the very same names as those before

    def __cinit__(self, table_of):
        self.table_of, self.known = table_of, {}

    cdef Table of(self, dict changes):
        """Return the table of the changes' names; None if it is none of ours."""
        cdef Table last = self.last
        if last is not None and is_table_of(last.changed, changes):
            return last
        names = PyList_AsTuple(PyDict_Keys(changes))
        table = self.known.get(names)
        if table is None:
            table = self.table_of(names)
            if type(table) is not Table:
                return None
            if len(self.known) < MAX_SHARED:
                self.known[names] = table
        (<Table>table).changed = names
        self.last = table
        return table


cdef inline bint is_table_of(tuple names, dict changes):
    """Tell whether these are the very names of the changes."""
    cdef Py_ssize_t at = 0, n = 0
    cdef PyObject* name
    if PyDict_Size(changes) != PyTuple_GET_SIZE(names):
        return False
    while PyDict_Next(changes, &at, &name, NULL):
        if name != <PyObject*>PyTuple_GET_ITEM(names, n):
            return False
        n += 1
    return True


cdef bytes quoted(value):
    """Encode a string that needs no escape; None for any other value."""
    cdef Py_ssize_t size
    cdef const char* text
    cdef char* out
    cdef bytes made
    cdef bint escaped = False
    if type(value) is not str:
        return None
    text = PyUnicode_AsUTF8AndSize(value, &size)
    made = PyBytes_FromStringAndSize(NULL, size + 2)
    out = PyBytes_AS_STRING(made)
    out[0] = out[size + 1] = c'"'
    memcpy(out + 1, text, size)
    is_whole = string(<At>out + 1, <At>out + size + 2, &escaped) == <At>out + size + 2
    return made if is_whole and not escaped else None


cdef splice_values(bytes data, Table table, dict values, encode, drop):
    """Do what `splice` does, with values of a dict that are yet to be encoded; `drop` removes."""
    cdef Change changes[MAX_PATHS]
    cdef int slot
    cdef list new = PyDict_Values(values)  # encoding one may change the dict
    cdef bytes encoded
    if table.nodes == NULL or len(new) != table.path_count:
        return None
    for slot in range(table.path_count):
        value = new[slot]
        if value is drop:
            changes[slot] = Change(REMOVE, NULL, 0)
            continue
        encoded = quoted(value)
        if encoded is None:
            encoded = <bytes?>encode(value)
        new[slot] = encoded  # keeps it
        changes[slot] = Change(REPLACE, PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded))
    return spliced(data, table, changes)


cdef spliced(bytes data, Table table, const Change* changes):
    cdef Walk walk
    cdef At base = <At>PyBytes_AS_STRING(data), end
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data), kept = 0, room = size
    cdef Piece* piece
    cdef Buffer out
    cdef bytes made
    cdef int i
    if size > 0x7FFFFFFF:
        return None
    begin_walk(&walk, table, changes, base, base + size)
    walk.adding = True
    end = walk_document(&walk, base)
    if end == NULL or not table.add_missing(&walk, end):
        return None
    if walk.piece_count == 0:
        return data
    for i in range(walk.piece_count):
        room += change_length(table, &walk.pieces[i], changes)
    made = PyBytes_FromStringAndSize(NULL, room)
    # There is room for all of it, so nothing is allocated below.
    out = Buffer(<uint8_t*>PyBytes_AS_STRING(made), 0, room)
    for i in range(walk.piece_count):
        piece = &walk.pieces[i]
        append(&out, base + kept, piece.begin - kept)
        append_change(&out, table, piece.slot, &changes[piece.slot], piece.action)
        kept = piece.end
    append(&out, base + kept, size - kept)
    return made


cdef Py_ssize_t change_length(Table table, const Piece* piece, const Change* changes) noexcept:
    """Return by how many bytes a piece makes its document longer."""
    cdef Py_ssize_t length = piece.begin - piece.end
    if piece.action != REMOVE:
        length += changes[piece.slot].length
    if piece.action == ADD:
        length += 2 + PyBytes_GET_SIZE(<bytes>table.keys[piece.slot])
    return length
