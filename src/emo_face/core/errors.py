"""Errors meant for the user: what is wrong, where, and the command that fixes it."""


class UserError(Exception):
    """Shown as one line without a traceback. Name the file, the field, expected and got, and the fix."""


class ModelError(UserError):
    """A model file is missing, has a wrong hash, or does not load."""


class ConfigError(UserError):
    """A configuration file or parameter is wrong."""


class Unavailable(UserError):
    """Something outside is not there now (a webcam, a port that another program holds): worth another try later."""


class ImageError(ValueError):
    """A message that is no picture: names the field, what was expected and what came."""
