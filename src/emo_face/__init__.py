"""Robots that read people's emotions and answer with their face."""

__version__ = "0.1.0"
