"""Drop-in functions for code written against torchdiffeq."""
