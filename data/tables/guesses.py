"""Which columns of a table people mean, where they have not said so: by common names."""

import re
from collections.abc import Mapping, Sequence

from .table import TextTable

DEFAULTS = {"user": "user", "item": "item", "label": "rating"}
"""The columns that are meant if nothing else is said, by their roles."""

WORDS = {
    "user": {
        *("user", "uid", "customer", "client", "member", "reader", "reviewer", "visitor", "buyer"),
        *("account", "person", "subscriber", "listener", "viewer", "player", "guest", "student"),
    },
    "item": {
        *("item", "iid", "product", "movie", "film", "book", "isbn", "asin", "sku", "article"),
        *("track", "song", "artist", "game", "show", "recipe", "restaurant", "business", "course"),
    },
    "label": {"rating", "star", "score", "overall", "grade", "label", "liked", "vote"},
}
"""Words in names of columns, in the singular."""


def guess_columns(
    tables: Sequence[TextTable], columns: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Guesses the columns that have their default names and are not there.

    Nothing is guessed where two columns could be meant, or a table lacks the one that is.

    Args:
      tables: of one file, or of the parts of a folder.
      columns: role (user, item, label) -> name of its column, "" for none.

    Returns:
      The columns, and a note that says what was guessed, if anything.

    Example:
      >>> import polars as pl
      >>> table = TextTable("f.csv", pl.DataFrame({"Customer ID": ["a"], "item": ["b"]}))
      >>> guess_columns([table], {"user": "user", "item": "item", "label": ""})[0]
      {'user': 'Customer ID', 'item': 'item', 'label': ''}
    """
    names = [
        name for name in tables[0].frame.columns if not any(t.missing((name,)) for t in tables)
    ]
    found: dict[str, str] = {}
    for role, name in columns.items():
        if name and name == DEFAULTS.get(role) and any(t.missing((name,)) for t in tables):
            taken = {*columns.values(), *found.values()}
            guess = _guess(role, [other for other in names if other not in taken])
            found |= {role: guess} if guess else {}
    if not found:
        return dict(columns), []
    said = ", ".join(f"{DEFAULTS[role]} = {name}" for role, name in found.items())
    keys = ", ".join(f"data.{role}" for role in found)
    return {**columns, **found}, [f"columns by their names: {said}; {keys} would name others"]


def _guess(role: str, names: Sequence[str]) -> str | None:
    """Returns the one name that has a word of a role; of several, the one that is an id."""
    words = {name: _split_words(name) for name in names}
    likely = [name for name in names if words[name] & WORDS[role]]
    if len(likely) > 1:
        ids = [name for name in likely if "id" in words[name]]
        likely = ids or [name for name in likely if words[name] <= WORDS[role]]
    return likely[0] if len(likely) == 1 else None


def _split_words(name: str) -> set[str]:
    """Returns the words of a name in lower case and in the singular.

    Example:
      >>> sorted(_split_words("reviewerID")), sorted(_split_words("Stars given"))
      (['id', 'reviewer'], ['given', 'star'])
    """
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return {part.lower().removesuffix("s") for part in parts}
