"""Draws the picture of the README: baseline losses and a found one, for both labels.

python docs/make_curves.py [FILE]
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from autolossgen import LossFn, build_loss, named_loss

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results" / "searched_biased_mf_movietweetings.json"
FOUND = "square(reciprocal(log(square(-label + pred)) + square(reciprocal(-label + pred))))"
LOGITS = np.linspace(-6, 6, 201)
LABELS = {1.0: "label 1: a like", 0.0: "label 0: a dislike"}
COLOURS = ("#8c959f", "#0969da", "#cf222e")


def make_losses() -> dict[str, LossFn]:
    """Returns the losses to draw, by the name in the legend."""
    rows = json.loads(RESULTS.read_text())["losses"]
    (row,) = (row for row in rows if row["formula"] == FOUND)
    found = build_loss(row["formula"], bounds=tuple(row["bounds"]))
    return {"BCE": named_loss("bce"), "Focal": named_loss("focal"), "found": found}


def compute_curves(loss: LossFn) -> dict[float, np.ndarray]:
    """Computes a loss over ``LOGITS`` for each label, made comparable.

    Adding a constant to a loss changes nothing in training, nor does a factor, as the fair test
    gives each loss its own learning rate. So each curve begins at 0, and the mean slope is BCE's.
    """
    logits = jnp.asarray(LOGITS, jnp.float32)
    values = {
        label: np.asarray(loss(logits, jnp.full_like(logits, label), reduce_fn=None))
        for label in LABELS
    }
    slope = np.mean([np.abs(np.gradient(curve, LOGITS)).mean() for curve in values.values()])
    return {label: (curve - curve.min()) * 0.5 / slope for label, curve in values.items()}


def draw_curves() -> Figure:
    """Returns the figure, one panel for each label."""
    curves = {name: compute_curves(loss) for name, loss in make_losses().items()}
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    for axes, (label, title) in zip(
        figure.subplots(1, 2, sharey=True), LABELS.items(), strict=True
    ):
        for (name, values), colour in zip(curves.items(), COLOURS, strict=True):
            axes.plot(LOGITS, values[label], color=colour, label=name, linewidth=2)
        axes.set(title=title, xlabel="logit", xlim=(-6, 6), ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("loss (same mean slope)")
    figure.axes[0].legend(frameon=False)
    return figure


def main() -> None:
    """Writes the picture."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER / "curves.svg"
    with matplotlib.rc_context({"svg.hashsalt": "curves"}):
        draw_curves().savefig(
            path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None
        )


if __name__ == "__main__":
    main()
