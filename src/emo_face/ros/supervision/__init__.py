"""Processes of the graph started, watched and ended."""
