"""The PyTorch peer computes what it is compared with."""

import jax
import numpy as np
import pytest

from autolossgen import PAPER_BOUNDS, Program, interpret
from autolossgen.language.operators import NUMBER_OF
from benchmarks import lane_cases as cases

torch = pytest.importorskip("torch")

from benchmarks import peer_pytorch as peer  # noqa: E402 (needs torch)


def test_the_peer_evaluates_programs_as_the_lanes_do():
    rng = np.random.default_rng(0)
    pred, label = rng.uniform(0.05, 0.95, 9), rng.integers(0, 2, 9)
    pred, label = (x.astype(np.float32) for x in (pred, label))
    drawn = [peer.draw_program(rng) for _ in range(30)]
    expected = [peer.evaluate(nodes, torch.tensor(pred), torch.tensor(label)) for nodes in drawn]
    number = [[NUMBER_OF[node.operator] for node in nodes] for nodes in drawn]
    lhs = [[node.reads[0] for node in nodes] for nodes in drawn]
    rhs = [[(*node.reads, -1)[1] for node in nodes] for nodes in drawn]
    programs = Program(*map(np.asarray, (number, lhs, rhs)), np.zeros((30, peer.NODES)))
    evaluate = jax.vmap(lambda program: interpret(program, pred, label, bounds=PAPER_BOUNDS))
    np.testing.assert_allclose(evaluate(programs), torch.stack(expected), rtol=1e-4)


def test_the_peer_learns():
    case = cases.Case(width=4, users=30, items=40, rows=600)
    data = peer.to_tensors(cases.make_interactions(case, case.rows, 0))
    data = data._replace(label=(data.user % 2).float())  # a bias can learn it
    torch.manual_seed(0)
    model = peer.BiasedMF(case)
    maxr = [  # max(label / pred, pred / label)
        peer.Node("reciprocal", (0,)),
        peer.Node("reciprocal", (1,)),
        peer.Node("mul", (1, 3)),
        peer.Node("mul", (0, 4)),
        peer.Node("max", (5, 6)),
    ]

    def loss():
        pred = torch.sigmoid(model(data.user, data.item))
        return peer.evaluate(maxr, pred, data.label).mean().item()

    before = loss()
    for _ in range(5):
        peer.train_epoch(model, maxr, data, 16)
    assert loss() < 0.8 * before


def test_the_peers_auc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    score = rng.integers(0, 5, 40)
    label = rng.integers(0, 2, 40)
    pairs = score[label == 1][:, None] - score[label == 0]
    data = peer.Tensors(torch.tensor(score), torch.tensor(score), torch.tensor(label).float())
    expected = np.mean((pairs > 0) + 0.5 * (pairs == 0))
    assert peer.compute_auc(lambda user, item: user, data) == pytest.approx(expected)
