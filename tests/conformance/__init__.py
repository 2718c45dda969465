"""The proof that the mirror is Ray Serve's class: the real one is asked, case by case."""
