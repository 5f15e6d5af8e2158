"""What a loss says of itself, and how everything that reads losses takes it from there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen import (
    DEFAULT_BOUNDS,
    PAPER_BOUNDS,
    POINTWISE,
    UNBOUNDED,
    LossFn,
    build_loss,
    canonical_key,
    complexity,
    named_loss,
    named_program,
    parse,
    simplify,
    to_latex,
    to_python,
    to_text,
    to_torch,
)

READERS = [to_text, complexity]
OF_BOUNDS = [simplify, canonical_key, to_python, to_torch, to_latex]


def test_a_loss_says_program_family_bounds_and_inputs():
    loss = build_loss("square(label - pred)", bounds=PAPER_BOUNDS, inputs="probabilities")
    assert isinstance(loss, LossFn)
    assert (loss.family, loss.bounds, loss.inputs) == (POINTWISE, PAPER_BOUNDS, "probabilities")
    assert to_text(loss.program) == "square(label - pred)"
    with pytest.raises(ValueError, match="read-only"):
        loss.program.op[0] = 0
    named = named_loss("bpr")
    assert (named.family.name, named.bounds, named.inputs) == ("pairwise", UNBOUNDED, "logits")


def test_a_function_that_was_not_built_is_no_source():
    assert not isinstance(jnp.square, LossFn)
    with pytest.raises(ValueError, match="a loss is a formula, tokens or a program"):
        to_text(jax.jit(lambda scores, labels: scores))


@pytest.mark.parametrize("read", READERS)
def test_a_loss_brings_its_family(read):
    assert read(named_loss("bpr")) == read(named_program("bpr"), family="pairwise")
    assert read("square(label - pred)") == read(parse("square(label - pred)"))


@pytest.mark.parametrize("read", OF_BOUNDS)
def test_a_loss_brings_its_family_and_bounds(read):
    expected = read(named_program("ccl"), family="pairwise", bounds=UNBOUNDED)
    assert str(read(named_loss("ccl"))) == str(expected)
    assert str(read("--pred", bounds=PAPER_BOUNDS)) == str(
        read(build_loss("--pred", bounds=PAPER_BOUNDS))
    )


def test_an_export_of_a_loss_is_the_loss():
    # Clipped at 10, the values would differ.
    for loss in (named_loss("mse"), build_loss("40 * square(label - pred)", bounds=(-10, 10))):
        scope = {}
        exec(to_python(loss, name="exported"), scope)
        scores, labels = np.float32([-2, 0.5, 30]), np.float32([1, 0, 0])
        wanted = loss(scores, labels, reduce_fn=None)
        np.testing.assert_allclose(scope["exported"](scores, labels), wanted, rtol=1e-6)


@pytest.mark.parametrize("read", [*READERS, *OF_BOUNDS])
def test_another_family_than_the_losss_is_refused(read):
    with pytest.raises(ValueError, match="of the pairwise family, not pointwise: leave family out"):
        read(named_loss("bpr"), family="pointwise")


@pytest.mark.parametrize("read", OF_BOUNDS)
def test_other_bounds_than_the_losss_are_refused(read):
    with pytest.raises(ValueError, match=r"leave them out, or give loss\.program with others"):
        read(named_loss("bce"), bounds=DEFAULT_BOUNDS)


@pytest.mark.parametrize("export", [to_python, to_torch, to_latex])
def test_a_loss_of_probabilities_is_not_exported_as_one_of_logits(export):
    loss = build_loss("square(label - pred)", inputs="probabilities")
    with pytest.raises(ValueError, match=r"the loss takes probabilities: give loss\.program"):
        export(loss)
    with pytest.raises(ValueError, match=r"constants \['s'\] are for formulas"):
        export(named_loss("bce"), s=0.1)


def test_a_loss_is_not_built_again():
    with pytest.raises(ValueError, match=r"already a loss; build others from loss\.program"):
        build_loss(named_loss("bce"))


def test_constants_may_be_called_source():
    assert build_loss("source * pred", source=2).constants == {"source": 2.0}
    assert to_python("source * pred", source=2) == to_python("2 * pred")


def test_a_loss_is_called_by_its_name_in_print_and_in_the_compiler():
    assert named_loss("focal").__name__ == "focal"
    assert repr(named_loss("focal")).startswith("<focal, pointwise loss of logits: ")
    assert repr(build_loss("pred")).startswith("<pointwise loss of logits: pred, ")
    assert "module @jit_focal" in named_loss("focal").lower(0.0, 0.0).as_text()
    assert "module @jit_loss" in build_loss("pred + 0.5").lower(0.0, 0.0).as_text()


def test_a_traced_number_is_refused_with_a_way_to_go_on():
    for name, build in (
        ("constant 's'", lambda s: build_loss("label - s * pred", s=s)),
        ("gamma of focal", lambda s: named_loss("focal", gamma=s)),
        ("smoothing", lambda s: named_loss("maxr", smoothing=s)),
    ):
        with pytest.raises(ValueError, match=f"{name} is traced by JAX.* outside of jit, grad"):
            jax.grad(lambda s, build=build: build(s)(0.0, 1.0))(0.1)
