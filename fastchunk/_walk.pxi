# One pass over a document: proves that it is JSON, and finds what a table of paths names.

cdef enum Role:
    PLAIN, FACT, LATEST, IN_PLACE, OF_KIND, TEXT

cdef enum Action:
    KEEP_IT, REPLACE, REMOVE, ADD

cdef enum Tag:  # in a signature
    ITEM = 1, OPEN, CLOSE, VALUE, KIND, EVENT, NAME, SAID, BLANK

cdef enum Within:  # where in a text's value something is
    NO_TEXT, BESIDE_TEXT, IN_TEXT

cdef struct Node:  # one step of one or more paths
    const char* name
    int32_t length, index, ordinal, sibling, child, each
    int32_t slot  # the path that ends here; -1 if none does
    int32_t role

cdef struct Change:  # what becomes of the value at the end of a path
    Action action
    const char* value
    Py_ssize_t length

cdef struct Span:
    int32_t begin, end

cdef struct Piece:  # a part of the document, and what happens to it
    int32_t begin, end, slot
    Action action

cdef enum FreeKind:
    A_NUMBER, A_STRING, A_GAP

cdef struct Free:
    int32_t begin, end
    FreeKind kind

cdef struct TextKeys:  # of the objects that a text's value may consist of
    int count
    const char* names[MAX_TEXT_KEYS]
    int32_t lengths[MAX_TEXT_KEYS]

cdef struct Walk:
    At base, end
    const Node* nodes
    const Change* changes
    bint one_line  # whether a line end is no white space
    bint reporting  # whether each path that is found makes a piece
    bint noting  # whether the free values are to be noted
    bint comparing  # whether no key of any object may come twice
    bint adding  # whether what is missing below the root is added where it belongs
    uint64_t found  # the paths that were found, as bits
    bint keeps_root  # whether a member of the root stays
    int32_t piece_count, free_count, span_count, signature_length
    Piece pieces[MAX_PIECES]
    Free free[MAX_FREE + 1]
    Span latest
    Within within
    int32_t text_count, copies
    Span texts[MAX_TEXTS]  # without their quotes
    Span text  # the first that is not empty; the others are copies
    const TextKeys* text_keys
    uint8_t signature[MAX_SIGNATURE]


cdef inline At gap(Walk* walk, At p) noexcept nogil:
    return p if p[0] > c' ' else wide_gap(walk, p)


cdef At wide_gap(Walk* walk, At p) noexcept nogil:
    while p[0] == c' ' or p[0] == c'\t' or (
        (p[0] == c'\n' or p[0] == c'\r') and not walk.one_line and p < walk.end
    ):
        p += 1
    return p


cdef inline void sign(Walk* walk, Tag tag, int32_t slot, At begin, At end) noexcept nogil:
    """Add to the signature: what is found where, and its bytes, so that it can be told apart."""
    cdef int32_t n = walk.signature_length, length = <int32_t>(end - begin)
    if n < 0 or length > 0xFF or n + 3 + length > MAX_SIGNATURE:
        walk.signature_length = -1
        return
    walk.signature[n] = tag
    walk.signature[n + 1] = <uint8_t>slot
    walk.signature[n + 2] = <uint8_t>length
    memcpy(walk.signature + n + 3, begin, length)
    walk.signature_length = n + 3 + length


cdef inline void note_free(Walk* walk, At begin, At end, FreeKind kind) noexcept nogil:
    if walk.noting and walk.free_count <= MAX_FREE:
        walk.free[walk.free_count] = Free(
            <int32_t>(begin - walk.base), <int32_t>(end - walk.base), kind
        )
        walk.free_count += 1


cdef bint note_text(Walk* walk, int32_t slot, At begin, At end) noexcept nogil:
    """Take note of a text, between its quotes; False if there are too many, or two that differ."""
    cdef Span* text = &walk.text
    if walk.text_count == MAX_TEXTS:
        return False
    if begin == end:
        sign(walk, BLANK, slot, begin, begin)
    else:
        if text.end == 0:
            text[0] = Span(<int32_t>(begin - walk.base), <int32_t>(end - walk.base))
        elif not is_same_text(walk.base, text, begin, end):
            return False
        else:
            walk.copies += 1
        sign(walk, SAID, slot, begin, begin)
    walk.texts[walk.text_count] = Span(<int32_t>(begin - walk.base), <int32_t>(end - walk.base))
    walk.text_count += 1
    note_free(walk, begin, end, A_STRING)
    return True


cdef inline bint is_same_text(At base, const Span* text, At begin, At end) noexcept nogil:
    return text.end - text.begin == end - begin and (
        memcmp(base + text.begin, begin, end - begin) == 0
    )


cdef inline bint is_text_key(const TextKeys* keys, At begin, At end) noexcept nogil:
    cdef int i
    for i in range(keys.count):
        if keys.lengths[i] == end - begin and memcmp(keys.names[i], begin, end - begin) == 0:
            return True
    return False


cdef inline int find_child(const Node* nodes, int node, At key, Py_ssize_t length) noexcept nogil:
    cdef int child = nodes[node].child
    while child >= 0:
        if nodes[child].length == length and memcmp(nodes[child].name, key, length) == 0:
            return child
        child = nodes[child].sibling
    return -1


cdef inline int find_item(const Node* nodes, int node, int index) noexcept nogil:
    cdef int child = nodes[node].each
    if child >= 0:
        return child
    child = nodes[node].child
    while child >= 0 and nodes[child].index != index:
        child = nodes[child].sibling
    return child


cdef bint add_piece(Walk* walk, int slot, At begin, At end, Action action) noexcept nogil:
    if walk.piece_count == MAX_PIECES:
        return False
    walk.pieces[walk.piece_count] = Piece(
        <int32_t>(begin - walk.base), <int32_t>(end - walk.base), slot, action
    )
    walk.piece_count += 1
    return True


cdef inline bint is_same(const Change* change, At begin, At end) noexcept nogil:
    return end - begin == change.length and memcmp(change.value, begin, change.length) == 0


cdef inline bint is_replaced(Walk* walk, int slot) noexcept nogil:
    return slot >= 0 and walk.changes[slot].action == REPLACE


cdef inline int kind_length(At p) noexcept nogil:
    """Return how many bytes of a value tell its kind; what is empty is of a kind of its own."""
    if p[0] == c'[' or is_blank(p):
        return 2
    return 0 if p[0] == c'-' or 0x30 <= p[0] <= 0x39 else 1


cdef inline bint is_blank(At p) noexcept nogil:
    return p[0] == c'"' and p[1] == c'"'


cdef bint mark(
    Walk* walk, int child, At segment, At begin, At end, At after, bint* kept
) noexcept nogil:
    """Take note of a member or item that a path ends at, and of what is to happen to it.

    `segment` is where it begins, the white space before it included, `after` where it ends with
    that behind it; `kept` tells whether one before it in its object stays, and is updated.
    """
    cdef const Node* node = &walk.nodes[child]
    cdef const Change* change
    cdef Action action = KEEP_IT
    cdef At cut
    if node.role == FACT and node.child < 0 and node.each < 0:
        sign(walk, VALUE, node.slot, begin, end)
    elif node.role == OF_KIND:
        sign(walk, KIND, node.slot, begin, begin + kind_length(begin))
    elif node.role == LATEST:
        sign(walk, KIND, node.slot, begin, begin + 1)
        if begin[0] == c'{':
            walk.latest = Span(<int32_t>(begin - walk.base), <int32_t>(end - walk.base))
            walk.span_count = 1
    if node.slot >= 0:
        walk.found |= <uint64_t>1 << node.slot
        if walk.reporting:
            return add_piece(walk, node.slot, begin, end, KEEP_IT)
        change = &walk.changes[node.slot]
        action = change.action
        if action == REPLACE and not is_same(change, begin, end):
            if not add_piece(walk, node.slot, begin, end, REPLACE):
                return False
        elif action == REMOVE:
            # A comma goes with it: the one before it, if something before that stays.
            cut = segment - 1 if kept[0] else segment
            return add_piece(
                walk, node.slot, cut, after + 1 if not kept[0] and after[0] == c',' else after, REMOVE
            )
    kept[0] = True
    return True


cdef bint add_below(Walk* walk, int node, uint64_t seen, bint kept, At end) noexcept nogil:
    """Add what an object lacks at its end; False if no member of it stays."""
    cdef int child = walk.nodes[node].child, slot
    cdef const Node* step
    while child >= 0:
        step = &walk.nodes[child]
        slot = step.slot
        if slot >= 0 and not seen >> step.ordinal & 1:
            if is_replaced(walk, slot) and step.role != IN_PLACE and not (
                kept and add_piece(walk, slot, end, end, ADD)
            ):
                return False
            walk.found |= <uint64_t>1 << slot
        child = step.sibling
    return True


cdef struct Keys:  # of one object
    int count
    At begin[MAX_KEYS]
    int32_t length[MAX_KEYS]


cdef bint add_key(Keys* keys, At begin, At end) noexcept nogil:
    """Add a key; False if it is there already, or if there are too many."""
    cdef int32_t length = <int32_t>(end - begin)
    cdef int i
    if keys.count == MAX_KEYS:
        return False
    for i in range(keys.count):
        if keys.length[i] == length and memcmp(keys.begin[i], begin, length) == 0:
            return False
    keys.begin[keys.count], keys.length[keys.count] = begin, length
    keys.count += 1
    return True


cdef At walk_object(Walk* walk, At p, int node, int depth) noexcept nogil:
    """Pass an object, from behind its brace."""
    cdef uint64_t seen = 0, bit
    cdef bint escaped, kept = False
    cdef int child
    cdef At segment = p, key, begin, after
    cdef Keys keys
    # Whether nothing is to be known of what no path leads to.
    cdef bint skipping = not walk.noting and not walk.comparing and walk.within == NO_TEXT
    keys.count = 0
    p = gap(walk, p)
    if p[0] == c'}':
        return p + 1
    while True:
        if p[0] != c'"':
            return NULL
        key = p + 1
        escaped = False
        p = string(key, walk.end, &escaped)
        if p == NULL:
            return NULL
        child = -1
        if walk.comparing and (escaped or not add_key(&keys, key, p - 1)):
            return NULL
        if walk.within != NO_TEXT:
            sign(walk, NAME, 0, key, p - 1)
            walk.within = IN_TEXT if is_text_key(walk.text_keys, key, p - 1) else BESIDE_TEXT
        elif node >= 0:
            if escaped:
                return NULL
            child = find_child(walk.nodes, node, key, p - 1 - key)
            if child >= 0:
                bit = <uint64_t>1 << walk.nodes[child].ordinal
                if seen & bit:
                    return NULL
                seen |= bit
        p = gap(walk, p)
        if p[0] != c':':
            return NULL
        begin = gap(walk, p + 1)
        if child < 0 and skipping:
            p = skip_value(walk, begin, depth)
        else:
            p = walk_value(walk, begin, child, depth)
        if p == NULL:
            return NULL
        after = gap(walk, p)
        if child >= 0:
            if not mark(walk, child, segment, begin, p, after, &kept):
                return NULL
        else:
            kept = True
        if after[0] != c',':
            break
        segment = after + 1
        p = gap(walk, segment)
    if after[0] != c'}':
        return NULL
    if node > 0 and walk.adding and not add_below(walk, node, seen, kept, after):
        return NULL
    if node == 0:
        walk.keeps_root = kept
        if after > p:  # what hides a text's length; where there is none, a piece may end there
            note_free(walk, p, after, A_GAP)
    return after + 1


cdef At walk_array(Walk* walk, At p, int node, int depth) noexcept nogil:
    """Pass an array, from behind its bracket."""
    cdef int child = -1, index = 0
    cdef bint kept = False
    cdef At segment = p, begin, after
    p = gap(walk, p)
    if p[0] == c']':
        return p + 1
    while True:
        if node >= 0:
            child = find_item(walk.nodes, node, index)
            sign(walk, ITEM, 0, p, p)
        begin = p
        p = walk_value(walk, begin, child, depth)
        if p == NULL:
            return NULL
        after = gap(walk, p)
        if child >= 0:
            if not mark(walk, child, segment, begin, p, after, &kept):
                return NULL
        else:
            kept = True
        if after[0] != c',':
            break
        index += 1
        segment = after + 1
        p = gap(walk, segment)
    return after + 1 if after[0] == c']' else NULL


cdef At skip_value(Walk* walk, At p, int depth) noexcept nogil:
    """Pass a value of which nothing is to be known but where it ends.

    It does what `walk_value` does, without notes, in two thirds of the time.
    """
    cdef bint escaped
    cdef uint8_t close, first = p[0]
    if first == c'"':
        return string(p + 1, walk.end, &escaped)
    if first == c'n':
        return literal(p, walk.end, "null", 4)
    if first == c't':
        return literal(p, walk.end, "true", 4)
    if first == c'f':
        return literal(p, walk.end, "false", 5)
    if first != c'{' and first != c'[':
        return number(p)
    if depth == 0:
        return NULL
    close = first + 2
    p = gap(walk, p + 1)
    if p[0] == close:
        return p + 1
    while True:
        if first == c'{':
            if p[0] != c'"':
                return NULL
            p = string(p + 1, walk.end, &escaped)
            if p == NULL:
                return NULL
            p = gap(walk, p)
            if p[0] != c':':
                return NULL
            p = gap(walk, p + 1)
        p = skip_value(walk, p, depth - 1)
        if p == NULL:
            return NULL
        p = gap(walk, p)
        if p[0] != c',':
            return p + 1 if p[0] == close else NULL
        p = gap(walk, p + 1)


cdef At walk_value(Walk* walk, At p, int node, int depth) noexcept nogil:
    """Pass a value; `node` is the step of the table that leads to it, or -1."""
    cdef At begin = p
    cdef bint escaped = False, leads = node >= 0 and (
        walk.nodes[node].child >= 0 or walk.nodes[node].each >= 0
    )
    cdef bint noting = walk.noting
    cdef bint is_free = node < 0 or (walk.nodes[node].role == OF_KIND and not is_blank(p))
    cdef int32_t slot = walk.nodes[node].slot if node >= 0 else -1
    cdef Within within = walk.within
    cdef uint8_t first = p[0]
    if node >= 0 and walk.nodes[node].role == TEXT:
        walk.within = IN_TEXT
    if leads or (walk.within != NO_TEXT and (first == c'{' or first == c'[')):
        sign(walk, OPEN, slot, p, p + 1)
    elif node >= 0 and walk.nodes[node].role == FACT:
        walk.noting = False  # all of it is in the signature
    if noting and node >= 0 and is_replaced(walk, slot):
        walk.noting = False  # another value may have to be replaced where this one is the new one
    if first == c'"':
        p = string(p + 1, walk.end, &escaped)
        if p != NULL:
            if walk.within == IN_TEXT:
                if not note_text(walk, slot, begin + 1, p - 1):
                    return NULL
            elif walk.within == NO_TEXT and is_free:
                note_free(walk, begin + 1, p - 1, A_STRING)
    elif first == c'{' or first == c'[':
        if depth == 0:
            return NULL
        if first == c'{':
            p = walk_object(walk, p + 1, node if leads else -1, depth - 1)
        else:
            p = walk_array(walk, p + 1, node if leads else -1, depth - 1)
    elif first == c'n':
        p = literal(p, walk.end, "null", 4)
    elif first == c't':
        p = literal(p, walk.end, "true", 4)
    elif first == c'f':
        p = literal(p, walk.end, "false", 5)
    else:
        p = number(p)
        if p != NULL and walk.within == NO_TEXT and is_free:
            note_free(walk, begin, p, A_NUMBER)
    if p == NULL:
        return NULL
    walk.noting = noting
    if leads or (walk.within != NO_TEXT and (first == c'{' or first == c'[')):
        sign(walk, CLOSE, 0, begin, begin)
    elif walk.within == BESIDE_TEXT or (walk.within == IN_TEXT and first != c'"'):
        sign(walk, VALUE, slot, begin, p)
    walk.within = within
    return p


cdef At walk_document(Walk* walk, At p) noexcept nogil:
    """Pass a document whose root is an object, up to `end`; return the place behind its brace."""
    cdef At root_end
    walk.found = 0
    walk.keeps_root = False
    walk.piece_count = walk.free_count = walk.span_count = walk.signature_length = 0
    walk.text_count = walk.copies = 0
    walk.text = Span(0, 0)
    walk.within = NO_TEXT
    p = gap(walk, p)
    if p[0] != c'{':
        return NULL
    root_end = walk_object(walk, p + 1, 0, MAX_DEPTH - 1)
    return root_end if root_end != NULL and gap(walk, root_end) == walk.end else NULL


cdef struct Known:  # a signature of events that ask for no decision, and what they say
    uint8_t* data
    int32_t length
    uint64_t hash
    bint is_chunk, is_withheld, has_reasons, has_text, is_left, does_nothing


cdef uint64_t hash_of(const uint8_t* data, int32_t length) noexcept nogil:
    """Hash a signature as FNV-1a does."""
    cdef uint64_t value = 0xCBF29CE484222325ULL
    cdef int32_t i
    for i in range(length):
        value = (value ^ data[i]) * 0x100000001B3ULL
    return value


cdef class Table:
    """Paths as a tree of steps; and what is known of the documents in which they were found.

    A path is a tuple of keys, decimal indices and None, which stands for each item of an array.
    Where a text consists of parts, the `text_keys` of these lead to it.
    """

    cdef Node* nodes
    cdef int node_count, path_count
    cdef uint64_t roots, nested, in_place  # the paths of one step, of several, never added
    cdef readonly list paths, roles
    cdef list names  # what the nodes point into
    cdef list keys  # the last step of each path, encoded
    cdef tuple changed  # the names of the changes that it is the table of
    # What is learned stays, so that a number says the same to every forwarder.
    cdef Known* shared
    cdef int shared_count
    cdef list said  # what is known of each that is shared
    cdef TextKeys text_keys

    def __cinit__(self, paths, roles=None, text_keys=()):
        cdef int slot, node
        self.paths, self.names, self.keys, self.said = list(paths), [], [], []
        self.roles = list(roles or [PLAIN] * len(self.paths))
        if len(paths) > MAX_PATHS:
            return  # every document is one for the exact path
        self.nodes = <Node*>PyMem_Malloc((sum(map(len, paths)) + 1) * sizeof(Node))
        if self.nodes == NULL:
            raise MemoryError
        self._add_node(b"", -1)
        for slot, path in enumerate(paths):
            node = 0
            for step in path:
                node = self._step(node, step)
            self.nodes[node].slot = slot
            if roles is not None:
                self.nodes[node].role = roles[slot]
                if roles[slot] == IN_PLACE:
                    self.in_place |= <uint64_t>1 << slot
            if len(path) == 1:
                self.roots |= <uint64_t>1 << slot
            else:
                self.nested |= <uint64_t>1 << slot
            self.keys.append(b"" if path[-1] is None else encode_json(path[-1]))
        self.path_count = len(paths)
        for key in text_keys:
            self._add_text_key(key.encode())

    cdef int _add_text_key(self, bytes name) except -1:
        cdef TextKeys* keys = &self.text_keys
        if keys.count == MAX_TEXT_KEYS:
            raise OverflowError(f"more than {MAX_TEXT_KEYS} keys")
        self.names.append(name)
        keys.names[keys.count] = PyBytes_AS_STRING(name)
        keys.lengths[keys.count] = <int32_t>PyBytes_GET_SIZE(name)
        keys.count += 1
        return 0

    def __dealloc__(self):
        cdef int i
        for i in range(self.shared_count):
            PyMem_Free(self.shared[i].data)
        PyMem_Free(self.shared)
        PyMem_Free(self.nodes)

    cdef Known* new_shared(self) except? NULL:
        """Return room for one more signature that is shared; NULL where there is none."""
        if self.shared == NULL:
            self.shared = <Known*>PyMem_Malloc(MAX_SHARED * sizeof(Known))
            if self.shared == NULL:
                raise MemoryError
        return &self.shared[self.shared_count] if self.shared_count < MAX_SHARED else NULL

    cdef int _add_node(self, bytes name, int ordinal) except -1:
        cdef Node* node = &self.nodes[self.node_count]
        self.names.append(name)
        node.name = PyBytes_AS_STRING(name)
        node.length = <int32_t>len(name)
        node.index = int(name) if is_index(name) else -1
        node.ordinal = ordinal
        node.sibling = node.child = node.each = node.slot = -1
        node.role = PLAIN
        self.node_count += 1
        return self.node_count - 1

    cdef int _step(self, int parent, step) except -1:
        cdef int child = self.nodes[parent].child, last = -1, made
        if step is None:
            if self.nodes[parent].each < 0:
                self.nodes[parent].each = self._add_node(b"", 0)
            return self.nodes[parent].each
        name = step.encode()
        while child >= 0:
            if self.names[child] == name:
                return child
            last = child
            child = self.nodes[child].sibling
        made = self._add_node(name, self.nodes[last].ordinal + 1 if last >= 0 else 0)
        if last < 0:
            self.nodes[parent].child = made
        else:
            self.nodes[last].sibling = made
        return made

    cdef int read_changes(self, values, Change* changes) except -1:
        """Take what becomes of each path: its new value, encoded; None: it is removed; ...: it stays."""
        cdef int slot
        if len(values) != self.path_count:
            raise ValueError("there is to be one value a path")
        for slot, value in enumerate(values):
            changes[slot] = Change(KEEP_IT, NULL, 0)
            if value is None:
                changes[slot].action = REMOVE
            elif value is not Ellipsis:
                changes[slot] = Change(
                    REPLACE, PyBytes_AS_STRING(<bytes?>value), PyBytes_GET_SIZE(value)
                )
        return 0

    cdef bint add_missing(self, Walk* walk, At end) noexcept nogil:
        """Add what is missing at the end of the root; `end` is behind its brace."""
        cdef int slot
        cdef uint64_t missing = ~(walk.found | self.in_place)
        for slot in range(self.path_count):
            if not missing >> slot & 1 or walk.changes[slot].action == KEEP_IT:
                continue
            if self.nested >> slot & 1:
                return False  # its parent may be missing
            if walk.changes[slot].action == REPLACE and not (
                walk.keeps_root and add_piece(walk, slot, end - 1, end - 1, ADD)
            ):
                return False
        return True


def is_index(bytes name):
    """Tell whether a step is an array's index, as RFC 6901 spells them."""
    return name.isdigit() and len(name) < 10 and (name == b"0" or name[:1] != b"0")


cdef struct Buffer:
    uint8_t* data
    Py_ssize_t length, room


cdef bint reserve(Buffer* out, Py_ssize_t more) noexcept:
    cdef uint8_t* grown
    cdef Py_ssize_t room = 2 * (out.length + more) + 256
    if out.room - out.length >= more:
        return True
    grown = <uint8_t*>PyMem_Realloc(out.data, room)
    if grown == NULL:
        return False
    out.data, out.room = grown, room
    return True


cdef inline bint append(Buffer* out, const void* data, Py_ssize_t length) noexcept:
    if length == 0:
        return True  # there may be no buffer yet
    if not reserve(out, length):
        return False
    memcpy(out.data + out.length, data, length)
    out.length += length
    return True


cdef bint append_change(
    Buffer* out, Table table, int slot, const Change* change, Action action
) noexcept:
    """Append what takes the place of a piece."""
    cdef bytes key
    if action == ADD:
        key = <bytes>table.keys[slot]
        if not (
            append(out, b",", 1)
            and append(out, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
            and append(out, b":", 1)
        ):
            return False
    return action == REMOVE or append(out, change.value, change.length)


cdef inline void begin_walk(
    Walk* walk, Table table, const Change* changes, At base, At end
) noexcept nogil:
    walk.base, walk.end = base, end
    walk.nodes, walk.changes, walk.text_keys = table.nodes, changes, &table.text_keys
    walk.one_line = walk.reporting = walk.noting = walk.comparing = walk.adding = False


def scan(bytes data not None, Table table not None):
    """Find a table's paths in a document: (path's number, begin, end), in order; None: not plain."""
    cdef Walk walk
    cdef At base = <At>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    if size > 0x7FFFFFFF or table.nodes == NULL:
        return None
    begin_walk(&walk, table, NULL, base, base + size)
    walk.reporting = True
    if walk_document(&walk, base) == NULL:
        return None
    return [
        (walk.pieces[i].slot, walk.pieces[i].begin, walk.pieces[i].end)
        for i in range(walk.piece_count)
    ]


def is_plain(bytes data not None, Table table=None):
    """Tell whether each key that leads to a table's paths comes once, with no escape in any key.

    Without a table, that holds for each key of every object.
    """
    cdef Walk walk
    cdef Change staying[MAX_PATHS]
    cdef At base = <At>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    if table is None:
        table = NO_PATHS
    if size > 0x7FFFFFFF or table.nodes == NULL:
        return False
    memset(staying, 0, sizeof(staying))
    begin_walk(&walk, table, staying, base, base + size)
    walk.comparing = table is NO_PATHS
    return walk_document(&walk, base) != NULL


cdef Table NO_PATHS = Table([])
