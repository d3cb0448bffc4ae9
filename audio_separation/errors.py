"""The one exception for mistakes that a user can mend."""

from __future__ import annotations


class UserError(Exception):
    """Bad input: a file, a key or a value that the user can mend.

    The message is one clear sentence that names the file or key, what was expected, what was found and
    the cure. ``main.py`` and the scripts print it without a traceback and exit with status 2.
    """
