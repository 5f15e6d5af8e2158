"""The few HTML elements of the report; every text is escaped unless it is ``Html`` already.

Home-made, because a template engine would be one more dependency for a hundred lines.
"""

from collections.abc import Iterable, Sequence
from html import escape

_CSS = """
:root { color-scheme: light dark; --back: #ffffff; --text: #1d2330; --muted: #5c6576;
  --line: #d5d9e0; --found: #c2410c; --baseline: #3b6fb6; --good: #18794e; --bad: #b42318;
  --row: #fdf3ec; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14171d; --text: #e6e9ef; --muted: #9aa4b5; --line: #363d4a; --found: #fb923c;
    --baseline: #7fb0f0; --good: #5bc894; --bad: #f5837a; --row: #2a211b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 76rem; background: var(--back);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0 0 .5rem; font-size: 1.7rem; line-height: 1.25; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.2rem; }
h3 { margin: 1.25rem 0 .5rem; font-size: 1rem; }
p { margin: .5rem 0; max-width: 50rem; }
header > .muted { margin: 0; }
.headline { margin: 1rem 0; padding: .75rem 1rem; border-left: 4px solid var(--found);
  background: var(--row); font-size: 1.1rem; }
.muted { color: var(--muted); font-size: .875rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: left;
  white-space: nowrap; vertical-align: top; }
th { color: var(--muted); font-weight: 600; }
td.right, th.right { text-align: right; }
tr.found { background: var(--row); }
tr.found td:first-child { color: var(--found); font-weight: 600; }
code { font: .8125rem/1.45 ui-monospace, Consolas, monospace; }
td code { display: inline-block; min-width: 15rem; max-width: 30rem; white-space: normal;
  overflow-wrap: anywhere; }
td:has(> code) { white-space: normal; }
td small { display: block; color: var(--muted); text-align: right; }
td small.by-label { text-align: left; }
td small.by-label code { display: inline; }
.better { color: var(--good); font-weight: 600; }
.worse { color: var(--bad); }
.track { width: 16rem; height: .8rem; margin-top: .25rem; }
.bar { height: 100%; min-width: 1px; background: var(--baseline); border-radius: 2px; }
figure { margin: 1.25rem 0; overflow-x: auto; }
figure svg { display: block; width: 100%; min-width: 34rem; max-width: 50rem; height: auto; }
figure svg * { stroke-linejoin: round; }
summary { cursor: pointer; color: var(--muted); }
details td { white-space: normal; overflow-wrap: anywhere; }
@media print { body { max-width: none; padding: 0; } }
"""


class Html(str):
    """Text that is HTML already and must not be escaped again."""

    __slots__ = ()


def trust_html(text: str) -> Html:
    """Marks a text as HTML that needs no escaping: only for what this package wrote itself."""
    return Html(text)


def join_html(parts: Iterable[Html | str]) -> Html:
    """Joins parts by line breaks, escaped if they are plain text."""
    return Html("\n".join(_escape(part) for part in parts if part))


def make_element(tag: str, *content: Html | str, css_class: str = "", attributes: str = "") -> Html:
    """Builds an element with escaped content.

    Args:
      tag: name of the element.
      *content: what is in it.
      css_class: its class, if any.
      attributes: more attributes, with a space before each; they are not escaped.

    Example:
      >>> make_element("p", "a < b", css_class="muted")
      '<p class="muted">a &lt; b</p>'
    """
    class_attribute = f' class="{escape(css_class)}"' if css_class.strip() else ""
    inner = "".join(_escape(part) for part in content)
    return Html(f"<{tag}{class_attribute}{attributes}>{inner}</{tag}>")


def format_formula(text: str) -> Html:
    """Builds a formula as code; a long one breaks after a parenthesis, not inside a name.

    Example:
      >>> format_formula("log(1 < 2)")
      '<code>log(<wbr>1 &lt; 2)</code>'
    """
    return make_element("code", Html(escape(text).replace("(", "(<wbr>")))


def make_table(
    header: Sequence[str],
    rows: Iterable[Sequence[Html | str]],
    right_columns: Sequence[int] = (),
    row_classes: Sequence[str] = (),
) -> Html:
    """Builds a table that scrolls sideways on a narrow screen.

    Args:
      header: title of each column.
      rows: of the body.
      right_columns: indices of the columns that are aligned to the right.
      row_classes: class of each row of the body, or none.
    """

    def make_cells(tag: str, values: Sequence[Html | str]) -> Html:
        return join_html(
            make_element(tag, value, css_class="right" if column in right_columns else "")
            for column, value in enumerate(values)
        )

    head = make_element("thead", make_element("tr", make_cells("th", header)))
    body = make_element(
        "tbody",
        *(
            make_element(
                "tr",
                make_cells("td", row),
                css_class=row_classes[index] if row_classes else "",
            )
            for index, row in enumerate(rows)
        ),
    )
    return make_element("div", make_element("table", head, body), css_class="scroll")


def make_page(title: str, body: Html) -> str:
    """Builds a whole document.

    Its policy forbids scripts and requests, whatever a formula contains.
    """
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{_CSS}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _escape(part: Html | str) -> str:
    return part if isinstance(part, Html) else escape(part)
