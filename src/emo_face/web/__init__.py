"""The screen face: a page and its server."""
