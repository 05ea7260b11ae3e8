"""Arguments of the processor's and the feature extractor's calls: none is ever ignored."""

import inspect
from collections.abc import Callable, Iterable
from difflib import get_close_matches


def argument_names(function: Callable, without: Iterable[str] = ()) -> set[str]:
    """The names of a function's keyword arguments, except those in `without`, `self` and `**kwargs`."""
    parameters = inspect.signature(function).parameters.values()
    names = {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}
    return names - {"self", *without}


def refuse_unknown(given: Iterable[str], known: Iterable[str], owner: str):
    """Checks the names of keyword arguments.

    Args:
        given: the names that were passed.
        known: the names that the call takes.
        owner: what a message calls the call.

    Raises:
        TypeError: a name is not known; the message has the nearest one, or all.
    """
    known = sorted(known)
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known)}"
            raise TypeError(f"{owner} takes no argument {name!r}: {remedy}")
