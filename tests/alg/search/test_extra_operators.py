"""A user's own operators, from a config key to gradients, text and the loss that is tested."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen import Op, build_loss, to_text
from autolossgen.language.grammar import encode_tokens
from autolossgen.language.programs import assemble
from autolossgen.search.log_record import make_program
from autolossgen.search.space import load_family, load_operators, make_space
from autolossgen.training.loss_gradients import LossBatch
from autolossgen.training.tasks import make_task

pytestmark = pytest.mark.slow

SOURCE = """
from autolossgen import Op

def _cube(x):
    return x * x * x

FORM = "({0} * {0} * {0})"
CUBE = Op("cube", 1, _cube, "cube({0})", "{0}^3", python=FORM, torch=FORM)
OPERATORS = [CUBE]
"""
OPTIONS = {"operators": ("sub",), "length": 5, "bounds": (-1e5, 1e5)}


@pytest.fixture(name="spec")
def _spec(tmp_path):
    path = tmp_path / "operators.py"
    path.write_text(SOURCE)
    return f"{path}:OPERATORS"


@pytest.mark.parametrize("family", ["pointwise", "pairwise"])
def test_a_search_trains_and_tests_losses_of_extra_operators(spec, family):
    space = make_space(
        **OPTIONS, family=family, extra_operators=spec, initial_losses=["cube(1 - 1)"]
    )
    task = make_task(load_family(family, spec), negatives=2)
    assert space.vocabulary.family == task.family  # loaded once, though named twice
    first, second = task.family.registers[:2]
    tokens = jnp.asarray(encode_tokens([first, second, "sub", "cube"], space.vocabulary))
    program = make_program(space, task.family, tokens)
    assert to_text(program, family=task.family) == f"cube({first} - {second})"

    loss = build_loss(to_text(program, family=task.family), family=task.family)

    @jax.jit
    def both(logits, labels):
        losses = LossBatch(
            program=jax.tree.map(lambda part: part[None], assemble(tokens, space.vocabulary)),
            low=jnp.array([-1e5]),
            high=jnp.array([1e5]),
            scale=jnp.ones(1),
        )
        traced = task.traced_logit_grads(space.vocabulary.operators)(losses, logits, labels)
        return traced, task.static_logit_grads([loss])(jnp.ones(1), logits, labels)

    points = np.linspace(-2.0, 2.0, 6, dtype=np.float32)[None], np.float32([1, 0, 0, 1, 0, 0])
    traced, static = both(*points)
    np.testing.assert_allclose(traced, static, rtol=1e-5, atol=1e-6)
    assert np.all(np.abs(static) > 0)


def test_one_operator_needs_no_sequence(spec):
    (cube,) = load_operators(spec.replace("OPERATORS", "CUBE"))
    assert isinstance(cube, Op)
    assert load_operators("") == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spec: "cube", r"is 'package.module:NAME' or 'path/to/file.py:NAME', got 'cube'"),
        (lambda spec: spec.replace(":OP", ":QP"), r"has no 'QPERATORS' \(did you mean 'OPERATORS'"),
        (lambda spec: spec.replace("OPERATORS", "FORM"), "is a sequence of Op, got str"),
        (lambda spec: "nowhere.py:OPERATORS", "loading 'nowhere.py' fails: FileNotFoundError"),
        (lambda spec: "no.such:OPERATORS", "loading 'no.such' fails: ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_loaded_is_refused(spec, change, message):
    with pytest.raises(ValueError, match=message):
        make_space(**OPTIONS, extra_operators=change(spec))
