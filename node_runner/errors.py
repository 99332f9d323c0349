"""Mistakes of a user, told in one line: option, value, possible values, what to do."""

from __future__ import annotations

from collections.abc import Callable, Collection
from difflib import get_close_matches
from typing import Any

__all__ = ["UserError", "as_user_error", "brief", "first_line", "unknown_name"]

_ABSENT = object()


class UserError(ValueError):
    """A mistake in what was typed or configured. The command line prints it as one line and exits
    with code 2.

    Args:
        text: What is wrong, where the other fields do not say it.
        key: Option at fault, as it is typed.
        value: Value of the option.
        expected: Possible values, as in "must be positive".
        suggestion: What to do.

    Example:
        >>> str(UserError(key="tol", value=0, expected="positive"))
        'tol is 0, must be positive'
        >>> str(UserError("unknown solver=dopri", suggestion="did you mean dopri5?"))
        'unknown solver=dopri; did you mean dopri5?'
    """

    def __init__(
        self,
        text: str = "",
        *,
        key: str = "",
        value: object = _ABSENT,
        expected: str = "",
        suggestion: str = "",
    ) -> None:
        super().__init__(text)
        self.text, self.key, self.value = text, key, value
        self.expected, self.suggestion = expected, suggestion

    def __str__(self) -> str:
        line = self.text
        if not line and self.value is _ABSENT:
            line = f"{self.key} is missing"
        elif not line:
            line = f"{self.key} is {brief(self.value)}, must be {self.expected}"
        return f"{line}; {self.suggestion}" if self.suggestion else line


def unknown_name(
    key: str, choices: Collection[str], name: str | None = None, listed: bool = False
) -> UserError:
    """Return the error for a name that does not exist, with the nearest one that does.

    Args:
        key: Name as it was typed, with its group: ``solver=dopri``.
        choices: Names that exist.
        name: Part of ``key`` that is compared with them (default: all of it).
        listed: List all choices even if one of them is near.
    """
    name = key if name is None else name
    near = get_close_matches(name, choices, n=1)
    if not near:
        by_leaf = {choice.rpartition(".")[2]: choice for choice in reversed(list(choices))}
        leaf = name.rpartition(".")[2]
        near = [by_leaf[match] for match in get_close_matches(leaf, by_leaf, n=1)]
    few = sorted({choice for choice in choices if "." not in choice}) or sorted(choices)
    expected = f"choose from {', '.join(few)}" if few else "there are none yet"
    suggestion = expected
    if near:
        suggestion = f"did you mean {near[0]}?{f' ({expected})' if listed else ''}"
    return UserError(
        f"unknown {key}", key=key, value=name, expected=expected, suggestion=suggestion
    )


def as_user_error(function: Callable[..., Any], *arguments: object) -> Any:
    """Return ``function(*arguments)``; a ValueError is a mistake of the user.

    Raises:
        UserError: In place of a ValueError.
    """
    try:
        return function(*arguments)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(str(error)) from error


def brief(value: object, length: int = 60) -> str:
    """Return a value as messages show it."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write integers of more than 4300 digits
        return "an integer of thousands of digits"
    return text if len(text) <= length else f"{text[:length]}..."


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return str(error).strip().partition("\n")[0]
