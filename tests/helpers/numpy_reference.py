"""Programs in NumPy float64 with derivatives by hand: written apart from the code under test.

A number is a pair (value, derivative) along one direction. No operator table is read: operators are
named here again, so a wrong row cannot agree with itself.
"""

import numpy as np

EPS = 1e-6
THRESHOLD = 0.3  # of all users


def sigmoid(x):
    return np.where(
        x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x)))
    )


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _divide(x, dx, y, dy):
    near = np.abs(y) < EPS
    y, dy = np.where(near, np.where(y < 0, -EPS, EPS), y), np.where(near, 0.0, dy)
    return x / y, dx / y - x * dy / y**2


def _extreme(first_wins):
    def rule(x, dx, y, dy):
        tie, first = x == y, first_wins(x, y)
        return np.where(first, x, y), np.where(tie, (dx + dy) / 2, np.where(first, dx, dy))

    return rule


def _spread(x, like):
    return np.broadcast_to(x, like.shape)


def _logsumexp(x, dx):
    top = x.max(-1, keepdims=True)
    share = np.exp(x - top)
    total = share.sum(-1, keepdims=True)
    return _spread(top + np.log(total), x), _spread((share * dx).sum(-1, keepdims=True) / total, x)


def _largest(x, dx):
    top = x.max(-1, keepdims=True)
    share = (x == top) / (x == top).sum(-1, keepdims=True)  # ties share the gradient
    return _spread(top, x), _spread((share * dx).sum(-1, keepdims=True), x)


RULES = {
    "add": lambda x, dx, y, dy: (x + y, dx + dy),
    "sub": lambda x, dx, y, dy: (x - y, dx - dy),
    "mul": lambda x, dx, y, dy: (x * y, dx * y + x * dy),
    "div": _divide,
    "max": _extreme(np.greater),
    "min": _extreme(np.less),
    "neg": lambda x, dx: (-x, -dx),
    "id": lambda x, dx: (x, dx),
    "log": lambda x, dx: (
        np.sign(x) * np.log(np.abs(x) + EPS),
        np.where(x == 0, 0.0, dx / (np.abs(x) + EPS)),
    ),
    "square": lambda x, dx: (x * x, 2 * x * dx),
    "reciprocal": lambda x, dx: (
        np.sign(x) / (np.abs(x) + EPS),
        np.where(x == 0, 0.0, -dx / (np.abs(x) + EPS) ** 2),
    ),
    "sigmoid": lambda x, dx: (sigmoid(x), sigmoid(x) * sigmoid(-x) * dx),
    "tanh": lambda x, dx: (np.tanh(x), dx / np.cosh(np.clip(x, -300, 300)) ** 2),
    "atan": lambda x, dx: (np.arctan(x), dx / (1 + x * x)),
    "relu": lambda x, dx: (np.maximum(x, 0), np.where(x > 0, dx, 0.0)),
    "abs": lambda x, dx: (np.abs(x), np.sign(x) * dx),
    "sqrt": lambda x, dx: (
        np.sign(x) * np.sqrt(np.abs(x) + EPS),
        np.where(x == 0, 0.0, dx / (2 * np.sqrt(np.abs(x) + EPS))),
    ),
    "exp": lambda x, dx: (
        np.exp(np.minimum(x, 80)),
        np.where(x < 80, np.exp(np.minimum(x, 80)) * dx, 0),
    ),
    "softplus": lambda x, dx: (softplus(x), sigmoid(x) * dx),
    "sum_neg": lambda x, dx: (
        _spread(x.sum(-1, keepdims=True), x),
        _spread(dx.sum(-1, keepdims=True), x),
    ),
    "mean_neg": lambda x, dx: (
        _spread(x.mean(-1, keepdims=True), x),
        _spread(dx.mean(-1, keepdims=True), x),
    ),
    "logsumexp_neg": _logsumexp,
    "max_neg": _largest,
    "stop_gradient": lambda x, dx: (x, 0 * dx),
}


def run(program, names, registers, *, logit=None, bounds):
    """Returns value and derivative of a program.

    ``names[number]`` is an operator's name; ``registers`` and ``logit`` are pairs.
    """
    registers = [tuple(np.asarray(part, np.float64) for part in pair) for pair in registers]
    low, high = bounds
    shape = registers[0][0].shape
    for number, lhs, rhs, constant in zip(*program, strict=True):
        name = names[number]
        if name == "number":
            registers.append((np.full(shape, float(constant)), np.zeros(shape)))
        elif name == "logit":
            registers.append(logit)
        elif name == "threshold":
            registers.append((np.full(shape, THRESHOLD), np.zeros(shape)))
        else:
            x, y = registers[lhs], registers[rhs]
            is_binary = name in ("add", "sub", "mul", "div", "max", "min")
            value, slope = RULES[name](*x, *y) if is_binary else RULES[name](*x)
            inside = (value >= low) & (value <= high)
            registers.append((np.clip(value, low, high), np.where(inside, slope, 0.0)))
    return registers[-1]


def pointwise(program, names, logit, label, *, bounds):
    """Returns value and d value / d logit, as arrays like ``logit``."""
    pred, one = sigmoid(logit), np.ones_like(logit)
    pairs = ((pred, pred * sigmoid(-logit)), (label, 0 * label), (one, 0 * one))
    return run(program, names, pairs, logit=(logit, one), bounds=bounds)


def pairwise(program, names, pos, neg, direction, *, bounds):
    """Returns the mean over negatives [B] and its derivative along ``direction``."""
    d_pos, d_neg = direction
    wide, d_wide = (np.broadcast_to(x[..., None], neg.shape) for x in (pos, d_pos))
    one = np.ones_like(neg)
    value, slope = run(
        program, names, ((wide, d_wide), (neg, d_neg), (one, 0 * one)), bounds=bounds
    )
    return value.mean(-1), slope.mean(-1)
