"""A hint at the known name that is nearest to a misspelt one."""

import difflib
from collections.abc import Iterable


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
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f" (did you mean {near[0]!r}?)"
    return f" (known: {', '.join(known)})" if otherwise is None else otherwise
