"""A PyTorch peer: one candidate at a time, as the original AutoLossGen trains.

Usage::

    pip install -e ".[search,bench]"
    python benchmarks/peer_pytorch.py [--rows N] [--repeats N]

Every candidate is a program of ten operator nodes, each clamped, that Python evaluates node by
node for every batch, and autograd differentiates. The recommender is BiasedMF with
``nn.Embedding``, whose gradients are dense; SGD decays all weights, and each gradient's values are
clipped at 50. A candidate trains for an epoch of ML-100K's size at batch 128 and is rewarded with
its AUC (Li, Ji, Ge and Zhang, 2022, doi:10.1145/3477495.3531941, and facts of their public code).
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for benchmarks itself

import numpy as np
import torch
from torch import Tensor, nn

from autolossgen.interfaces import Batch
from benchmarks.lane_cases import Case, make_interactions

EPS, LOW, HIGH = 1e-6, 1e-5, 1e5
NODES = 10  # of a candidate
OPERATORS: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "mul": torch.mul,
    "max": torch.maximum,
    "min": torch.minimum,
    "neg": torch.neg,
    "id": lambda x: x,
    "log": lambda x: torch.sign(x) * torch.log(torch.abs(x) + EPS),
    "square": torch.square,
    "reciprocal": lambda x: torch.sign(x) / (torch.abs(x) + EPS),
}
BINARY = ("add", "mul", "max", "min")


class Node(NamedTuple):
    """An operator and the earlier nodes that it reads; 0, 1 and 2 are pred, label and 1."""

    operator: str
    reads: tuple[int, ...]


def evaluate(program: Sequence[Node], pred: Tensor, label: Tensor) -> Tensor:
    """Returns the last node of a program at predictions and labels [B]."""
    values = [pred, label, torch.ones_like(pred)]
    for node in program:
        result = OPERATORS[node.operator](*(values[i] for i in node.reads))
        values.append(torch.clamp(result, LOW, HIGH))
    return values[-1]


def has_gradient(program: Sequence[Node]) -> bool:
    """Whether a program has a gradient at 20 probe points, without which none is trained."""
    generator = torch.Generator().manual_seed(0)
    pred = (0.1 + 0.8 * torch.rand(20, generator=generator)).requires_grad_()
    value = evaluate(program, pred, torch.rand(20, generator=generator)).sum()
    if not value.requires_grad:
        return False
    (gradient,) = torch.autograd.grad(value, pred)
    return bool(gradient.abs().max() >= 1e-4)


def draw_program(rng: np.random.Generator) -> list[Node]:
    """Draws a program with a gradient; a binary operator reads two different nodes."""
    while True:
        program = []
        for place in range(3, 3 + NODES):
            operator = str(rng.choice(list(OPERATORS)))
            reads = rng.choice(place, 2 if operator in BINARY else 1, replace=False)
            program.append(Node(operator, tuple(reads.tolist())))
        if has_gradient(program):
            return program


class BiasedMF(nn.Module):
    """A recommender with vectors and biases of users and items, and a global bias."""

    def __init__(self, case: Case):
        super().__init__()
        self.user, self.item = (nn.Embedding(n, case.width) for n in (case.users, case.items))
        self.user_bias, self.item_bias = (nn.Embedding(n, 1) for n in (case.users, case.items))
        self.bias = nn.Parameter(torch.tensor(0.1))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Computes logits [B]."""
        product = (self.user(user) * self.item(item)).sum(-1)
        return product + self.user_bias(user)[:, 0] + self.item_bias(item)[:, 0] + self.bias


def train_epoch(model: nn.Module, program: Sequence[Node], data: "Tensors", batch: int) -> None:
    """Trains for an epoch, shuffled."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, weight_decay=1e-4)
    for chosen in torch.randperm(len(data.label)).split(batch):
        optimizer.zero_grad()
        pred = torch.sigmoid(model(data.user[chosen], data.item[chosen]))
        evaluate(program, pred, data.label[chosen]).mean().backward()
        nn.utils.clip_grad_value_(model.parameters(), 50)
        optimizer.step()


@torch.no_grad()
def compute_auc(model: nn.Module, data: "Tensors") -> float:
    """Computes the share of (positive, negative) pairs in the right order; ties are half."""
    _, rank = torch.unique(model(data.user, data.item), return_inverse=True)
    positives = torch.bincount(rank, weights=data.label.double())
    negatives = torch.bincount(rank, weights=1 - data.label.double())
    below = torch.cumsum(negatives, 0) - negatives / 2
    return float((positives * below).sum() / (positives.sum() * negatives.sum()))


class Tensors(NamedTuple):
    """Interactions as PyTorch's tensors."""

    user: Tensor
    item: Tensor
    label: Tensor


def to_tensors(data: Batch) -> Tensors:
    """Copies interactions into PyTorch's tensors."""
    return Tensors(
        *(torch.tensor(np.asarray(data.ids[field])).long() for field in ("user", "item")),
        torch.tensor(np.asarray(data.label)),
    )


def make_peer_way(case: Case, data: Batch, rewarded: Batch) -> Callable[[], float]:
    """Makes a function that trains and evaluates the next random candidate at each call."""
    torch.set_num_threads(1)  # operations so small are slower on more
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    train, evaluated, model = to_tensors(data), to_tensors(rewarded), BiasedMF(case)
    initial = {name: value.clone() for name, value in model.state_dict().items()}

    def way() -> float:
        model.load_state_dict(initial)
        train_epoch(model, draw_program(rng), train, case.batch)
        return compute_auc(model, evaluated)

    return way


def main() -> None:
    """Trains a few candidates and prints how many a second."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=Case().rows, help="interactions of an epoch")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    case = Case(rows=options.rows)
    way = make_peer_way(
        case, make_interactions(case, case.rows, 0), make_interactions(case, case.rewarded, 1)
    )
    way()
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    for _ in range(options.repeats):
        start = time.perf_counter()
        auc = way()
        rate = 1 / (time.perf_counter() - start)
        print(f"{rate:.3f} candidates/s, AUC {auc:.3f}")


if __name__ == "__main__":
    main()
