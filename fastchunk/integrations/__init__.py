"""Drop-ins for other people's code, one module for each, tested on that very code."""
