"""The proof that the mirror is Ray Serve's class, and that `wire` takes what any server's has."""
