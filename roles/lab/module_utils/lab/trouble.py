"""The one exception: its message is the sentence that a person reads."""

from __future__ import annotations


class Trouble(Exception):
    """Something stands in the way of the lab. The message says what, where and what to do, and holds no secret."""
