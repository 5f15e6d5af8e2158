"""Vocabularies, the grammar of token sequences, and their assembly."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen import (
    assemble,
    build_loss,
    complexity,
    interpret,
    make_grammar,
    make_vocabulary,
    parse,
    to_text,
)
from autolossgen.controller.uniform import make_uniform
from autolossgen.language.families import PAIRWISE
from autolossgen.language.grammar import (
    FREE_RATIO,
    FREE_VALUE,
    PAD,
    encode_tokens,
    make_typed_grammar,
)
from autolossgen.language.inputs import as_program, as_static, as_template
from autolossgen.language.interpreter import compute_pairwise_logit_grads
from autolossgen.language.operators import NUMBER_OF

SPACES = {
    "unary and binary": make_vocabulary(("add", "log"), ("pred", "label")),
    "binary only": make_vocabulary(("mul",), ("pred",)),
    "unary only": make_vocabulary(("log", "neg"), ("pred", "label")),
    "no operators": make_vocabulary((), ("pred", "label")),
    "pairwise": make_vocabulary(("add", "sum_neg"), ("neg", "diff"), family="pairwise"),
}


def is_loss(tokens, vocab):
    """Whether postfix tokens leave one value, padding last; by running them."""
    depth, ended = 0, False
    for token in tokens:
        arity = vocab.arity[token]
        if arity < 0:
            if depth != 1:
                return False
            ended = True
        elif ended or depth < arity:
            return False
        else:
            depth += 1 - arity
    return depth == 1


def under_the_mask(vocab, length, make=make_grammar):
    """Returns all sequences that a policy can write under the grammar."""
    rules = make(vocab, length)

    @jax.jit
    def step(depth, remaining, previous):
        """Returns whether each token may come next, and the state after it."""
        every = jnp.arange(rules.size)
        return rules.allowed(depth, remaining, previous), rules.advance(depth, every)

    found = [((), 0, 0)]
    for slot in range(length):
        after = {}
        for depth, previous in {(depth, previous) for _, depth, previous in found}:
            allowed, states = map(np.asarray, step(depth, length - slot, previous))
            assert allowed.any(), "a policy may never be stuck"
            after[depth, previous] = [(int(t), int(states[t])) for t in np.flatnonzero(allowed)]
        found = [
            ((*tokens, token), state, token)
            for tokens, depth, previous in found
            for token, state in after[depth, previous]
        ]
    return {tokens for tokens, _, _ in found}


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("space", SPACES)
def test_the_grammar_writes_the_losses_and_nothing_else(space, length):
    vocab = SPACES[space]
    every = itertools.product(range(len(vocab.names)), repeat=length)
    assert under_the_mask(vocab, length) == {tokens for tokens in every if is_loss(tokens, vocab)}


def test_a_space_of_the_papers_operators_is_written_exactly():
    vocab = make_vocabulary()
    every = itertools.product(range(len(vocab.names)), repeat=3)
    assert under_the_mask(vocab, 3) == {tokens for tokens in every if is_loss(tokens, vocab)}


def reads_scores(tokens, vocab):
    """Whether no part of a pairwise loss is made of constants alone, or aggregates a positive's."""
    kinds = {"pos": "p", "threshold": "p", "neg": "n", "diff": "n"}
    stack = []
    for name in (vocab.names[token] for token in tokens if token):
        if name in ("exp", "mean_neg"):
            kind = stack.pop()
            if kind == "c" or (name == "mean_neg" and kind != "n"):
                return False
            stack.append("p" if name == "mean_neg" else kind)
        elif name == "mul":
            both = {stack.pop(), stack.pop()}
            if both == {"c"}:
                return False
            stack.append("n" if "n" in both else "p")
        else:
            stack.append(kinds.get(name, "c"))
    return stack[0] != "c"


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    ("operators", "operands"),
    [
        (("mul", "exp", "mean_neg"), ("pos", "diff", "c")),
        (("mul", "mean_neg"), ("threshold", "neg", "num_negatives", "1")),
        (("exp", "mean_neg"), ("diff", "c")),
    ],
)
def test_the_typed_grammar_writes_what_reads_scores_and_nothing_else(operators, operands, length):
    vocab = make_vocabulary(operators, operands, family="pairwise")
    every = itertools.product(range(len(vocab.names)), repeat=length)
    wanted = {x for x in every if is_loss(x, vocab) and reads_scores(x, vocab)}
    assert under_the_mask(vocab, length, make_typed_grammar) == wanted


def test_long_sequences_of_the_typed_grammar_are_losses():
    operands = ("pos", "neg", "threshold", "c", "1")
    vocab = make_vocabulary(operands=operands, family="pairwise")
    sample = make_uniform(make_typed_grammar(vocab, 40, length_prior=(30.0, 5.0))).sample
    for tokens in np.asarray(sample((), jax.random.key(0), 50)):
        names = [vocab.names[token] for token in tokens if token]
        assert len(encode_tokens(names, vocab)) > 10


def test_a_typed_grammar_is_of_pairwise_losses_that_read_a_score():
    with pytest.raises(ValueError, match="a typed grammar is of pairwise losses, got pointwise"):
        make_typed_grammar(make_vocabulary(), 5)
    vocab = make_vocabulary(("add",), ("c", "1"), family="pairwise")
    with pytest.raises(ValueError, match="reads pos, neg or diff"):
        make_typed_grammar(vocab, 5)


def test_free_constants_have_names_of_their_own():
    tokens = "pos c sub c div diff c div logsumexp_neg mul".split()
    program, slots = as_template(tokens, family="pairwise")
    text = "(pos - c0) / c1 * logsumexp_neg(diff / c2)".replace("diff", "(pos - neg)")
    assert to_text(program, family="pairwise", slots=slots) == text
    values = {"c0": 0.5, "c1": 2.0, "c2": 3.0}
    named, of_tokens = (
        build_loss(text, family="pairwise", **values),
        build_loss(tokens, family="pairwise"),
    )
    defaults = [FREE_VALUE, FREE_VALUE * FREE_RATIO, FREE_VALUE * FREE_RATIO**2]
    assert of_tokens.constants == pytest.approx(dict(zip(values, defaults, strict=True)))
    vocab = make_vocabulary(
        ("sub", "div", "mul", "logsumexp_neg"), ("pos", "diff", "c"), family=PAIRWISE
    )
    traced = assemble(jnp.asarray(encode_tokens(tokens, vocab)), vocab)
    loaded = np.asarray(traced.constant)[np.asarray(traced.op) == NUMBER_OF["number"]]
    np.testing.assert_allclose(loaded, defaults, rtol=1e-6)
    pos, neg = jnp.array([0.3, -0.2]), jnp.array([[0.1, 0.5], [0.3, -0.4]])
    np.testing.assert_allclose(of_tokens(pos, neg, constants=values), named(pos, neg), rtol=1e-6)


def test_the_interpreter_reads_thresholds_that_are_given():
    vocab = make_vocabulary(
        ("sub", "mul", "logsumexp_neg"), ("pos", "neg", "threshold"), family=PAIRWISE
    )
    loss = build_loss("(pos - threshold) * logsumexp_neg(neg)", family="pairwise")
    pos, neg = jnp.array([0.3, -0.2]), jnp.array([[0.1, 0.5], [0.3, -0.4]])
    threshold = jnp.array([0.2, 0.4])
    given = {"operators": vocab.operators, "bounds": (-1e5, 1e5)}
    got = compute_pairwise_logit_grads(loss.program, pos, neg, threshold=threshold, **given)
    want = jax.grad(lambda *x: loss(*x, threshold=threshold, reduce_fn=jnp.sum), (0, 1))(pos, neg)
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    with pytest.raises(ValueError, match="need threshold="):
        compute_pairwise_logit_grads(loss.program, pos, neg, **given)


def test_tokens_are_checked_as_the_grammar_allows():
    vocab = SPACES["unary and binary"]
    for tokens in itertools.product(range(len(vocab.names)), repeat=4):
        names = [vocab.names[token] for token in tokens]
        if is_loss(tokens, vocab):
            assert encode_tokens(names, vocab).tolist() == list(tokens)
        else:
            with pytest.raises(ValueError, match=r"token \d|a loss leaves one value"):
                encode_tokens(names, vocab)


@pytest.mark.parametrize("space", ["unary and binary", "pairwise"])
def test_assembly_inside_jit_gives_the_program_of_the_names(space):
    vocab = SPACES[space]
    family = vocab.family
    sequences = sorted(under_the_mask(vocab, 5))
    programs = jax.jit(jax.vmap(lambda tokens: assemble(tokens, vocab)))(jnp.array(sequences))
    for i, tokens in enumerate(sequences):
        program = as_static(jax.tree.map(lambda part, i=i: np.asarray(part[i]), programs), family)
        names = [vocab.names[token] for token in tokens]
        text = to_text(program, family=family)
        assert text == to_text(as_program(names, family=family), family=family)
        assert complexity(program, family=family) == sum(name != PAD for name in names)


def test_numbers_are_operands():
    vocab = make_vocabulary(("mul",), ("pred", "0.5", "logit"))
    program = assemble(
        jnp.array(encode_tokens(["pred", "0.5", "mul", "logit", "mul"], vocab)), vocab
    )
    assert to_text(program) == "pred * 0.5 * logit"
    assert as_program(["pred", "0.5", "mul", "logit", "mul"]).op.tolist() == [19, 1, 18, 1]


def test_token_numbers_are_those_of_the_default_vocabulary():
    numbers = encode_tokens(["pred", "label", "neg", "add", "square"])
    assert build_loss(numbers) is build_loss("square(pred + -label)")
    assert build_loss(numbers.tolist()) is build_loss(jnp.asarray(numbers))
    names = make_vocabulary(family="pairwise").names
    pairwise = [names.index(name) for name in ("diff", "softplus")]
    assert build_loss(pairwise, family="pairwise") is build_loss(
        "softplus(diff)", family="pairwise"
    )


def test_the_interpreter_refuses_operators_that_it_would_leave_out():
    negatives = jnp.ones((2, 3))
    program = parse("sum_neg(neg)", family="pairwise")
    with pytest.raises(ValueError, match=r"uses \['sum_neg'\], which operators or table leave out"):
        interpret(program, negatives, negatives)
    operators = make_vocabulary(family="pairwise").operators
    assert interpret(program, negatives, negatives, operators=operators).tolist() == [[3.0] * 3] * 2
    with pytest.raises(ValueError, match="numbers of the 27 rows"):
        interpret(program, negatives, negatives, operators=(99,))
    with pytest.raises(ValueError, match="expected a Program, as parse returns it, got str"):
        interpret("pred", negatives, negatives)


def test_programs_are_pytrees_of_arrays():
    programs = [parse("square(label - pred)"), parse("log(label * pred)")]
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *programs)
    assert {leaf.shape for leaf in jax.tree.leaves(stacked)} == {(2, 2)}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["pred", "divv"], r"token 1 'divv' is not known \(did you mean 'div'\?\)"),
        (["add"], "token 0 'add' takes 2 values, got 0"),
        (["pred", "label"], "these 2 tokens leave 2"),
        (["pred", PAD, "log"], "token 2 'log' follows PAD"),
        (["pred", "label", PAD], "token 2 PAD follows 2 values"),
        ([], "these 0 tokens leave 0"),
        ([1, 99], "token 1 is 99, expected 0 to 12"),
        ([1, "log"], "token 1 is log, expected 0 to 12"),
        ([1, -1], "token 1 is -1, expected 0 to 12"),
        ([1, 2.0], "token 1 is 2.0, expected 0 to 12"),
        ([None], "token 0 is None, expected 0 to 12"),
        (np.ones((1, 2), int), r"token 0 is \[1 1\], expected 0 to 12"),
        (["pred", "-x", "mul"], "token 1 '-x' is not known"),
        (["pred", "1e39", "mul"], "token 1 '1e39' is not known"),
    ],
)
def test_bad_tokens_are_refused_with_the_position(names, expected):
    with pytest.raises(ValueError, match=expected):
        build_loss(names)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"operators": ("divv",)}, r"'divv' is not an operator \(did you mean 'div'\?\)"),
        ({"operators": ("sum_neg",)}, "'sum_neg' is not an operator"),
        ({"operators": ("logit",)}, "'logit' is not an operator"),
        ({"operands": ()}, "at least one operand"),
        ({"operands": ("pred", "pred")}, "lists each name once"),
        ({"operands": ("predd",)}, r"operand 'predd' is neither known nor a finite number"),
        ({"operands": ("inf",)}, "neither known nor a finite number"),
        ({"operands": ("1e39",)}, "neither known nor a finite number"),
        ({"family": "listwise"}, "'listwise' is not a family"),
        ({"operators": ("neg",), "family": "pairwise"}, "lists each name once"),
    ],
)
def test_bad_vocabularies_are_refused(arguments, expected):
    with pytest.raises(ValueError, match=expected):
        make_vocabulary(**arguments)


def test_a_grammar_needs_a_token():
    with pytest.raises(ValueError, match="at least one token, got length 0"):
        make_grammar(make_vocabulary(), 0)
