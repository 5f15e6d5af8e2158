"""Writes settings.md, every key of a config with its default and its comment.

    python docs/make_settings.py

A test checks that the page is up to date.
"""

import ast
import io
import sys
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from autolossgen.configs import base, csv, stream, synthetic, topk

PAGE = Path(__file__).resolve().parent / "settings.md"
OWN_DATA = {"csv": csv, "stream": stream, "synthetic": synthetic}
HEAD = """\
# Settings

*Generated from [configs/base.py](../configs/base.py) by `python docs/make_settings.py`.*

Change a key with `--config.SECTION.KEY=VALUE`, for example `--config.search.generations=100` or
`--config.promote.epochs="(6,20)"`. A key that does not exist is refused, and so is one that the
run would not read. The other files in [configs/](../configs) and the presets in
[configs/presets.py](../configs/presets.py) change only values. The default `None` means that the
value is chosen for you, as the comment says.
"""


def read_comments(source: str) -> dict[str, str]:
    r"""Reads the comment of each key that a config file assigns: the lines above it, then its own.

    Keys of a section that a function builds are listed without the section's name.

    Example:
      >>> read_comments("# Of the data.\nconfig.data.name = 'csv'  # a file")
      {'data.name': 'Of the data; a file'}
    """
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    lines = source.splitlines()
    found = {}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Attribute):
            continue
        key = ast.unparse(node.targets[0]).partition(".")[2]
        above = node.lineno - 1
        while above in comments and lines[above - 1].lstrip().startswith("#"):
            above -= 1
        end = node.end_lineno or node.lineno
        leading = [comments[n] for n in range(above + 1, node.lineno)]
        inline = [comments[n] for n in range(node.lineno, end + 1) if n in comments]
        parts = (" ".join(leading).rstrip("."), " ".join(inline))
        found[key] = "; ".join(part for part in parts if part)
    return found


def _read_comments_of(module: ModuleType) -> dict[str, str]:
    return read_comments(Path(str(module.__file__)).read_text(encoding="utf-8"))


def _iterate_sections(
    config: Mapping[str, Any], name: str = ""
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Iterates over the sections, each with the keys that are its own."""
    yield name, {key: value for key, value in config.items() if not isinstance(value, dict)}
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _iterate_sections(value, f"{name}.{key}".lstrip("."))


def _make_table(section: str, values: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """Returns the rows of a section, in the order of the config file."""
    order, rows = [*comments], []
    for key, value in values.items():
        name = f"{section}.{key}".lstrip(".")
        source = name if name in comments else key  # a key of a section that a function builds
        comment = comments[source].replace("|", r"\|")
        rows.append((order.index(source), f"| `{name}` | `{value!r}` | {comment} |"))
    return "\n".join(
        ["| key | default | what it is |", "|---|---|---|", *dict(sorted(rows)).values()]
    )


def _make_section(section: str, values: dict[str, Any], comments: Mapping[str, str]) -> str:
    parts = [f"## {section or 'The run'}"]
    if comment := comments.get(section):
        parts.append(f"{comment[0].upper()}{comment[1:].rstrip('.:')}.")
    if values:
        parts.append(_make_table(section, values, comments))
    return "\n\n".join(parts)


def _make_own_data(name: str, module: ModuleType) -> str:
    """Returns section ``data`` of a config in which it has keys of its own."""
    comments = _read_comments_of(module)
    known = _read_comments_of(base) | {"data.name": "the reader, not to be changed"}
    comments = {key: text or known.get(key, "") for key, text in comments.items()}
    head = f"## data, in configs/{name}.py\n\nThese keys replace section `data`."
    return f"{head}\n\n{_make_table('data', module.get_config().data.to_dict(), comments)}"


def _make_topk() -> list[str]:
    """Returns the sections of the config of top-k rankings, all of which are its own."""
    comments = _read_comments_of(topk)
    comments["data.item"] = comments["data.label"] = "column of a CSV"
    comments["data.time"] = f"column of a CSV; {comments['data.time']}"
    comments["data.user"] = "column of a CSV"
    comments["data.num_items"] = comments["data.num_interactions"] = "of synthetic data"
    head = (
        "## configs/topk.py\n\nRankings of the whole catalogue have these keys, and no others. "
        "[Rankings](ranking.md) explains them. Sections `policy.reinforce` and "
        "`policy.risk_seeking` are as above."
    )
    sections = _iterate_sections(topk.get_config().to_dict())
    shared = ("policy.reinforce", "policy.risk_seeking")
    tables = (_make_table(name, x, comments) for name, x in sections if name not in shared)
    return [head, *tables]


def make_page() -> str:
    """Returns the page."""
    comments = _read_comments_of(base)
    sections = {
        name: values for name, values in _iterate_sections(base.get_config().to_dict()) if values
    }
    shared = sections["policy.reinforce"].keys()
    own = sections["policy.risk_seeking"]
    sections["policy.risk_seeking"] = {key: own[key] for key in own.keys() - shared}
    comments["policy.risk_seeking"] = "All keys of `policy.reinforce`, with the same defaults"
    order = [*comments]
    names = sorted(sections, key=lambda name: order.index(name) if name else -1)
    parts = [HEAD.strip(), *(_make_section(name, sections[name], comments) for name in names)]
    parts += [_make_own_data(name, module) for name, module in OWN_DATA.items()]
    parts += _make_topk()
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Writes the page."""
    PAGE.write_text(make_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
