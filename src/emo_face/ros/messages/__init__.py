"""Messages built from and turned into the types of `core`."""
