"""A gateway's whole cost, in a process of its own with sockets on both sides, one by one."""
