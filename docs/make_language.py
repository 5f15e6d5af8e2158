"""Writes the generated parts of language.md, and the plots of the named losses.

Run it from the repository::

    python docs/make_language.py

A generated part is between two comments, ``<!-- name -->`` and ``<!-- end -->``. A test checks that
the page is up to date.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import jax.numpy as jnp
import numpy as np

from autolossgen import (
    OPERATORS,
    PAIRWISE,
    PAIRWISE_LOSSES,
    PAPER_LOSSES,
    POINTWISE_LOSSES,
    UNBOUNDED,
    named_loss,
    to_latex,
    to_python,
    to_torch,
)
from autolossgen.language.families import get_operators
from autolossgen.language.named_losses import Option, get_formula
from autolossgen.language.operators import PAPER_OPERATORS

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER / "language.md"
PLOTS = FOLDER / "losses"
SMOOTHING = 0.1
EXAMPLE = "max((label + 0.1) / (pred + 0.1), (pred + 0.1) / (label + 0.1))"

WIDTH, HEIGHT, EDGE, HIGHEST = 220, 120, 14, 4.0
LOGITS = np.linspace(-5, 5, 51)


def make_operator_table() -> str:
    """Returns the operators as a Markdown table."""
    lines = [
        "| name | formula | meaning | default in | Python | PyTorch |",
        "|---|---|---|---|---|---|",
    ]
    for op in OPERATORS:
        if op.arity == 0:
            continue
        families = [] if op.name not in PAPER_OPERATORS else ["the paper's nine"]
        families += ["pairwise"] * (op.name in PAIRWISE.operators)
        text = op.text.format("x", "y")
        call = f"{op.name}({', '.join('xy'[: op.arity])})"
        formula = f"`{text}`" if text == call else f"`{text}`, `{call}`"
        if op.name not in {**get_operators(PAIRWISE)}:
            formula += " (pairwise: sign only)"
        python, torch = (
            form.format("x", "y").replace("|", r"\|") for form in (op.python, op.torch)
        )
        latex = op.latex.format("x", "y").replace("|", r"\vert ")
        row = (op.name, formula, f"${latex}$", ", ".join(families), f"`{python}`", f"`{torch}`")
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def describe_option(name: str, option: Option) -> str:
    """Returns an option with its default and the numbers that it takes."""
    default = "None" if option.default is None else f"{option.default:g}"
    return f"`{name}={default}` ({option})"


def make_loss_table(losses: dict) -> str:
    """Returns named losses with formula, source, options and plot."""
    sections = []
    for name, loss in losses.items():
        latex = to_latex(named_loss(name, smoothing=SMOOTHING))
        options = ", ".join(describe_option(*item) for item in loss.options.items())
        sections.append(
            f"**`{name}`**{' (in the comparison of the paper)' if name in PAPER_LOSSES else ''}\n\n"
            f"![{name}](losses/{name}.svg)\n\n"
            f"```\n{get_formula(name)}\n```\n\n$${latex}$$\n\n"
            f"{loss.source}.{f' Options: {options}.' if options else ''}"
        )
    return "\n\n".join(sections)


def make_exports() -> str:
    """Returns one loss in every form of export."""
    return (
        f"```python\n{to_python(EXAMPLE, name='my_loss')}```\n\n"
        f"```python\n{to_torch(EXAMPLE, name='my_loss')}```\n\n"
        f"The same with `bounds=UNBOUNDED`, which clips nothing:\n\n"
        f"```python\n{to_torch(EXAMPLE, name='my_loss', bounds=UNBOUNDED)}```\n\n"
        f"$${to_latex(EXAMPLE)}$$"
    )


def make_parts() -> dict[str, str]:
    """Returns the generated parts of the page."""
    return {
        "operators": make_operator_table(),
        "pointwise losses": make_loss_table(POINTWISE_LOSSES),
        "pairwise losses": make_loss_table(PAIRWISE_LOSSES),
        "exports": make_exports(),
    }


def render(page: str) -> str:
    """Returns the page with its generated parts up to date."""
    for name, text in make_parts().items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        page, count = re.subn(
            pattern, lambda m, t=text: f"{m[1]}{t}\n{m[2]}", page, flags=re.DOTALL
        )
        if count != 1:
            raise ValueError(f"the page has {count} parts called {name!r}, expected 1")
    return page


def compute_curves(name: str) -> list[tuple[str, np.ndarray]]:
    """Returns colour and values over the logits: of labels 1 and 0, or of a positive over a 0."""
    logits = jnp.asarray(LOGITS, jnp.float32)
    loss = named_loss(name, smoothing=SMOOTHING)
    if name in POINTWISE_LOSSES:
        labels = ((1.0, "#0969da"), (0.0, "#cf222e"))
        return [(colour, np.asarray(loss(logits, y, reduce_fn=None))) for y, colour in labels]
    settings = {"threshold": 0.0} if loss.reads_threshold else {}
    values = loss(logits, jnp.zeros((logits.size, 1)), **settings, reduce_fn=None)
    return [("#0969da", np.asarray(values))]


def make_plot(name: str) -> str:
    """Returns a small SVG of a named loss."""
    lines = compute_curves(name)
    low = min(0.0, *(float(values.min()) for _, values in lines))
    low, high = max(low, -HIGHEST), min(HIGHEST, max(float(values.max()) for _, values in lines))
    x = EDGE + (LOGITS + 5) / 10 * (WIDTH - 2 * EDGE)

    def y(value):
        return HEIGHT - EDGE - (value - low) / (high - low) * (HEIGHT - 2 * EDGE)

    polylines = []
    for colour, values in lines:
        inside = (values <= 1.1 * high) & (values >= low - 0.1 * (high - low))
        points = " ".join(
            f"{a:.0f},{y(b):.1f}" for a, b in zip(x[inside], values[inside], strict=True)
        )
        polylines.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
    zero = f'<path d="M{EDGE} {y(0):.1f}H{WIDTH - EDGE}M{WIDTH / 2:.0f} {EDGE}V{HEIGHT - EDGE}" '
    zero += 'stroke="#8c959f" stroke-width="0.5"/>'
    marks = [
        (EDGE, HEIGHT - 2, "-5"),
        (WIDTH - EDGE, HEIGHT - 2, "5"),
        (WIDTH / 2 + 8, 10, f"{high:.3g}"),
    ]
    style = 'font-size="9" font-family="sans-serif" fill="#57606a" text-anchor="middle"'
    text = "".join(f'<text x="{a:.0f}" y="{b}" {style}>{t}</text>' for a, b, t in marks)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}"><title>{name}</title>{zero}{"".join(polylines)}{text}</svg>\n'
    )


def main() -> None:
    """Writes page and plots."""
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    PLOTS.mkdir(exist_ok=True)
    for name in [*POINTWISE_LOSSES, *PAIRWISE_LOSSES]:
        (PLOTS / f"{name}.svg").write_text(make_plot(name), encoding="utf-8")


if __name__ == "__main__":
    main()
