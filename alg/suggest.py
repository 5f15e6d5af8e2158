"""The known name that is nearest to a misspelt one, and a hint at it."""

import difflib
from collections.abc import Iterable


def find_nearest(name: str, known: Iterable[str]) -> str | None:
    """Finds the known name that is most like a name; None if none is near.

    Example:
      >>> find_nearest("forcal", ("bce", "focal"))
      'focal'
    """
    return next(iter(difflib.get_close_matches(name, known, n=1)), None)


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str | None = None) -> str:
    """Returns ``" (did you mean 'x'?)"`` for the nearest known name.

    Args:
      name: the name that is not known.
      known: all known names.
      otherwise: what is returned if none is near; None for a list of the known names.

    Example:
      >>> did_you_mean("forcal", ("bce", "focal"))
      " (did you mean 'focal'?)"
      >>> did_you_mean("x", ("bce", "focal"))
      ' (known: bce, focal)'
    """
    known = list(known)
    nearest = find_nearest(name, known)
    if nearest is not None:
        return f" (did you mean {nearest!r}?)"
    return f" (known: {', '.join(known)})" if otherwise is None else otherwise
