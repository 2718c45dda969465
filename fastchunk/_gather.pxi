# Pieces of text that are gathered without returning to Python.


cdef class Deltas:
    """Where a type of event has its index and delta, and where a type of delta has its piece."""

    cdef object types  # whose slots these are
    cdef object quiet
    cdef Slots event
    cdef Slots deltas[MAX_DELTAS]
    cdef int count

    def __cinit__(self, event_type, pieces, quiet=()):
        """Take the type of the events, and for each type of delta the name of its piece.

        Events of the `quiet` types say nothing.
        """
        if len(pieces) > MAX_DELTAS:
            raise OverflowError(f"more than {MAX_DELTAS} types of delta")
        self.types, self.quiet = (event_type, tuple(pieces)), frozenset(quiet)
        find_slots(&self.event, event_type, ("index", "delta"))
        for delta_type, name in pieces.items():
            find_slots(&self.deltas[self.count], delta_type, (name,))
            self.count += 1


def gatherer(Deltas deltas not None, tuple lists not None, otherwise):
    """Build a function that takes an event, and appends its piece to the list that it belongs to.

    `lists` has for each type of delta the list of each index. `otherwise` gets the other events.
    """
    if len(lists) != deltas.count:
        raise ValueError("there must be lists for each type of delta")
    for by_index in lists:
        if type(by_index) is not dict:
            raise TypeError(f"lists must be dicts, not {type(by_index).__name__}")

    def add(event):
        """Add the next event; one that says nothing about the answer changes nothing.

        Raises `TypeError` for what is no event of this family.
        """
        cdef int i
        if is_of(event, &deltas.event):
            delta = slot(event, &deltas.event, 1)
            index = slot(event, &deltas.event, 0)
            if type(index) is int:
                for i in range(deltas.count):
                    if is_of(delta, &deltas.deltas[i]):
                        pieces = (<dict>lists[i]).get(index)
                        if type(pieces) is list:
                            (<list>pieces).append(slot(delta, &deltas.deltas[i], 0))
                            return
                        break
        elif type(event) in deltas.quiet:
            return
        otherwise(event)

    return add
