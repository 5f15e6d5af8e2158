"""A built loss as an object: how it is shown, copied, pickled and compared, and what helps."""

import copy
import inspect
import os
import pickle
import pydoc
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from autolossgen import (
    DEFAULT_BOUNDS,
    PAPER_BOUNDS,
    Op,
    build_loss,
    make_vocabulary,
    named_loss,
    to_latex,
    to_text,
)
from autolossgen.language.build import Loss
from autolossgen.language.inputs import LossFn

SOURCE = Path(__file__).parents[3] / "src"
FORM = "({0} * {0} * {0})"
CUBE = Op("cube", 1, lambda x: x * x * x, "cube({0})", "{0}^3", python=FORM, torch=FORM)
SCORES, LABELS = np.float32([0.5, -1.0, 2.0]), np.float32([1, 0, 1])


def lift(x):
    return x * x * x


LIFT = CUBE._replace(name="lift", function=lift, text="lift({0})")

LOSSES = [
    build_loss("square(label - pred)"),
    build_loss("max(label, s * pred)", s=0.25, bounds=PAPER_BOUNDS, inputs="probabilities"),
    build_loss("relu(m - diff)", family="pairwise", m=0.5),
    named_loss("focal", gamma=1.5),
    named_loss("sl_at_k", temperature=0.3),
]
PARTS = ("inputs", "bounds", "family", "constants", "reads_threshold", "__name__", "__doc__")


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
def test_pickles_and_copies_keep_everything(loss):
    copies = copy.copy(loss), copy.deepcopy({"a": loss})["a"], pickle.loads(pickle.dumps(loss))
    assert all(other is loss for other in copies)  # so nothing is compiled twice
    again = Loss(loss._parts)  # as in another process
    assert again is not loss
    assert again == loss
    assert hash(again) == hash(loss)
    for part in PARTS:
        assert getattr(again, part) == getattr(loss, part), part
    jax.tree.map(np.testing.assert_array_equal, again.program, loss.program)


def test_a_pickle_is_read_in_another_process(tmp_path):
    path = tmp_path / "loss.pickle"
    path.write_bytes(pickle.dumps(LOSSES[2]))
    code = (
        "import pickle, sys; loss = pickle.load(open(sys.argv[1], 'rb')); "
        "print(loss, float(loss(1.0, [0.75]))); from autolossgen import build_loss; "
        "print(loss is build_loss('relu(m - diff)', family='pairwise', m=0.5))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path],
        env=os.environ | {"PYTHONPATH": str(SOURCE), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [f"{LOSSES[2]} 0.25", "True"]


def test_a_loss_of_your_own_operators_is_pickled_where_they_can_be():
    loss = build_loss("lift(label - pred)", family=make_vocabulary(extra=[LIFT]).family)
    assert pickle.loads(pickle.dumps(loss)) == loss
    hidden = build_loss("cube(label - pred)", family=make_vocabulary(extra=[CUBE]).family)
    assert copy.deepcopy(hidden) is hidden
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(hidden)


def test_losses_are_equal_if_they_are_built_alike():
    loss, *others = LOSSES
    assert loss == build_loss("square( label - pred )")
    assert len({*LOSSES, build_loss("square(label-pred)")}) == len(LOSSES)
    assert all(loss != other for other in others)
    assert loss != "square(label - pred)"
    assert build_loss("pred") != build_loss("pred", bounds=(-1, 1))


def test_a_loss_shows_its_formula():
    bce, softmax = named_loss("bce"), named_loss("softmax", temperature=0.5)
    assert repr(bce) == "<bce, pointwise loss of logits: softplus(logit) - label * logit>"
    assert "logsumexp_neg(-(pos - neg) / temperature), temperature=0.5" in repr(softmax)
    assert repr(LOSSES[0]) == (
        "<pointwise loss of logits: square(label - pred), intermediates clipped to "
        f"{DEFAULT_BOUNDS}>"
    )
    assert "of probabilities: max(label, s * pred), s=0.25" in repr(LOSSES[1])


def test_a_notebook_shows_its_formula():
    bce = named_loss("bce")
    assert bce._repr_latex_() == rf"$\displaystyle {to_latex(bce)}$"
    least = build_loss("min(pred, label) * -1")
    assert r"\min\left(\hat{y}, y\right) \cdot \left(-1\right)" in least._repr_latex_()
    assert "<code>softplus(logit) - label * logit</code>" in bce._repr_html_()
    sums = bce.program._replace(
        op=np.zeros(40, int), lhs=np.arange(2, 42), rhs=np.arange(2, 42), constant=()
    )
    assert build_loss(sums)._repr_latex_() is None
    assert "of 40 instructions" in build_loss(sums)._repr_html_()


def test_help_fits_a_screen():
    for thing in (build_loss, named_loss("bce")):
        lines = pydoc.plain(pydoc.render_doc(thing)).splitlines()
        assert len(lines) <= 24
    assert list(inspect.signature(LOSSES[0]).parameters)[:2] == ["scores", "labels"]
    assert "threshold" in inspect.signature(LOSSES[2]).parameters


def test_a_loss_is_a_function_to_jax():
    loss = LOSSES[0]
    assert isinstance(loss, LossFn)
    expected = np.mean((LABELS - 1 / (1 + np.exp(-SCORES))) ** 2)
    for function in (loss, jax.jit(loss), lambda *at: jax.vmap(loss)(*at).mean()):
        np.testing.assert_allclose(function(SCORES, LABELS), expected, rtol=1e-5)
    static = jax.jit(lambda f, *at: f(*at), static_argnums=0)
    np.testing.assert_allclose(static(loss, SCORES, LABELS), expected, rtol=1e-5)
    slope = jax.grad(loss)(SCORES, LABELS)
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(SCORES, LABELS), slope, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "error", "expected"),
    [
        ({"reduction": "sum"}, TypeError, "no reduction: reduce_fn=jnp.sum gives the sum"),
        ({"reduce_fn": "sum"}, ValueError, r"a function or None, got 'sum': reduce_fn=jnp\.sum"),
        ({"weight": 1.0}, TypeError, "no 'weight' .did you mean 'weights'"),
        ({"s": 0.1}, TypeError, "constants of a formula are given as constants="),
    ],
)
def test_what_other_libraries_call_it_is_answered_with_what_to_write(settings, error, expected):
    for call in (LOSSES[0], jax.jit(lambda *at: LOSSES[0](*at, **settings))):
        arguments = settings if call is LOSSES[0] else {}
        with pytest.raises(error, match=expected):
            call(SCORES, LABELS, **arguments)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        LOSSES[0](SCORES)


@pytest.mark.parametrize("read", [build_loss, to_text, to_latex])
def test_the_name_of_a_loss_leads_to_named_loss(read):
    with pytest.raises(ValueError, match=r"'bce' is not known.*named_loss\('bce'\) builds it"):
        read("bce")
    with pytest.raises(ValueError, match=r"'s' is not known \(known: [^;]*\)$"):
        read("s * pred")


def test_tokens_are_taken_as_a_hall_of_fame_writes_them():
    assert build_loss("label pred sub square") is build_loss("square(label - pred)")
    assert build_loss("pos neg sub 0.5 max", family="pairwise") is build_loss(
        "max(pos - neg, 0.5)", family="pairwise"
    )
    assert to_text("label pred 1 neg add mul") == "label * (pred + -(1))"
    assert to_text("label -1") == "label - 1"  # a formula
    with pytest.raises(ValueError, match="a loss leaves one value"):
        build_loss("label pred square")
    with pytest.raises(ValueError, match="expected an operator or the end, got 'label'"):
        build_loss("pred label")
