"""What the site does with links that leave docs/: pages of the repository become pages of the site.

Links to other files of the repository lead nowhere on a site, so their texts stay alone.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
ADDED = {
    "README.md": "overview.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Pages of the repository that the site has, too -> what it calls them."""

CODE = re.compile(r"(```.*?```)", re.DOTALL)
IMAGE = r"!\[[^\]]*\]\([^()]*\)"
LINK = re.compile(rf"(!?)\[((?:{IMAGE}|[^\]\[])*)\]\(([^()\s#]+)(#[^()\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages of the repository."""
    for name, page in ADDED.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **others: Any) -> str:
    """Leads links to where the site has their pages; see the module."""
    del others
    source = page.file.src_uri
    folder = ROOT if source in ADDED.values() else (ROOT / "docs" / source).parent
    parts = CODE.split(markdown)
    parts[::2] = [LINK.sub(lambda link: _lead(link, folder, source), part) for part in parts[::2]]
    return "".join(parts)


def _lead(link: re.Match[str], folder: Path, source: str) -> str:
    """Returns a link of a page in a folder as the site has it, or its text alone."""
    mark, text, target, anchor = link.groups()
    if text.startswith("!["):  # a picture that is a link
        text = LINK.sub(lambda image: _lead(image, folder, source), text)
    if "://" in target or target.startswith("mailto:"):
        return link[0]
    path = (folder / target).resolve()
    up = "../" * source.count("/")
    if path.is_relative_to(ROOT / "docs") and path.suffix != ".py" and path.is_file():
        place = path.relative_to(ROOT / "docs").as_posix()
    elif path.parent == ROOT and path.name in ADDED:
        place = ADDED[path.name]
    else:
        return text
    return f"{mark}[{text}]({up}{place}{anchor or ''})"
