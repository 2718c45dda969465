"""Drop-ins, each on the code that it is for."""
