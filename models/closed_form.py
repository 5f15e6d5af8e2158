"""Recommenders without a loss to choose, to compare trained ones with.

Each is fitted to what users liked by counting or by linear algebra. What is fitted scores a block
of users at a time, so that no array of all users by all items is held.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse

from autolossgen.interfaces import ItemSets, ScoreFn

BLOCK_ENTRIES = 2**16  # rows by padded entries that iALS solves together
# Multiplications from which on OpenBLAS has threads, which wait for each other.
BLAS_THREADED = 2**18


class ClosedForm(NamedTuple):
    """A recommender without a loss, and the values of its settings for validation to choose from.

    Example:
      >>> liked = ItemSets.of_pairs(np.array([0, 0, 1]), np.array([0, 1, 1]), num_users=2)
      >>> ease = CLOSED_FORMS["ease"]
      >>> scores = ease.fit(liked, num_items=3, l2=ease.grid["l2"][0])
      >>> scores(np.array([1, 0])).shape
      (2, 3)
    """

    name: str
    fit: Callable[..., ScoreFn]  # what users liked, num_items, **settings -> scores
    grid: Mapping[str, tuple[Any, ...]]  # name of a setting -> values, in ascending order


def fit_popularity(liked: ItemSets, num_items: int) -> ScoreFn:
    """Fits the most popular items, the same for every user.

    Args:
      liked: items of each user.
      num_items: of the catalogue.

    Returns:
      The scores: how many users like an item.

    Raises:
      ValueError: if there is an item outside the catalogue.

    Example:
      >>> liked = ItemSets.of_pairs(np.array([0, 0, 1]), np.array([0, 1, 1]), num_users=2)
      >>> fit_popularity(liked, num_items=3)(np.array([1])).tolist()
      [[1.0, 2.0, 0.0]]
    """
    _check_items(liked, num_items)
    count = np.bincount(liked.items, minlength=num_items).astype(np.float32)
    return lambda users: np.tile(count, (len(users), 1))


def fit_item_knn(liked: ItemSets, num_items: int, *, neighbours: int, shrink: float) -> ScoreFn:
    """Fits the nearest neighbours of items (Deshpande and Karypis, TOIS 2004).

    The similarity of two items is the cosine of their columns of likes, whose denominator is
    enlarged by ``shrink``: items that few users like have few neighbours they can rely on. Among
    equally similar neighbours those of lower id are kept.

    Args:
      liked: items of each user.
      num_items: of the catalogue.
      neighbours: how many neighbours an item keeps, at least 1.
      shrink: from 0 up.

    Returns:
      The scores: an item's similarities to those of its neighbours that the user likes, summed.

    Raises:
      ValueError: if a setting is out of its range or an item outside the catalogue.

    Example:
      >>> liked = ItemSets.of_pairs(np.array([0, 0, 1]), np.array([0, 1, 1]), num_users=2)
      >>> scores = fit_item_knn(liked, num_items=3, neighbours=2, shrink=0.0)
      >>> [round(score, 3) for score in scores(np.array([1]))[0].tolist()]
      [0.707, 0.0, 0.0]
    """
    _check_items(liked, num_items)
    _check_setting("neighbours", neighbours, minimum=1)
    _check_setting("shrink", shrink, minimum=0)
    likes = _to_sparse(liked, num_items)
    together = (likes.T @ likes).tocoo()
    of, neighbour = together.coords[1], together.coords[0]
    norm = np.sqrt(np.bincount(liked.items, minlength=num_items))
    similarity = together.data / (norm[of] * norm[neighbour] + shrink)
    similarity = np.where(of == neighbour, 0.0, similarity)  # nobody recommends an item by itself
    order = np.lexsort((neighbour, -similarity, of))
    begin = np.searchsorted(of[order], np.arange(num_items))
    kept = order[np.arange(order.size) - begin[of[order]] < neighbours]
    entries = similarity[kept].astype(np.float32), (neighbour[kept], of[kept])
    weights = scipy.sparse.csr_array(entries, shape=(num_items, num_items))
    return lambda users: (likes[users] @ weights).toarray()


def fit_ease(liked: ItemSets, num_items: int, *, l2: float) -> ScoreFn:
    """Fits EASE (Steck, WWW 2019, arXiv:1905.03375).

    Each item is regressed on all others, with the squared error over all users. One inverse of
    [num_items, num_items] solves all these regressions, and is held: four bytes an entry.

    Args:
      liked: items of each user.
      num_items: of the catalogue.
      l2: factor of the squared weights, above 0.

    Returns:
      The scores: an item's regression on what the user likes.

    Raises:
      ValueError: if ``l2`` is out of its range or so small that float32 cannot solve the
        regressions, or an item is outside the catalogue.

    Example:
      >>> liked = ItemSets.of_pairs(np.array([0, 0, 1]), np.array([0, 1, 1]), num_users=2)
      >>> scores = fit_ease(liked, num_items=3, l2=1.0)
      >>> [round(score, 3) for score in scores(np.array([1]))[0].tolist()]
      [0.333, 0.0, 0.0]
    """
    _check_items(liked, num_items)
    _check_setting("l2", l2, above=0)
    likes = _to_sparse(liked, num_items)
    gram = (likes.T @ likes).toarray(order="F")
    gram[np.diag_indices(num_items)] += l2
    factor, failed = scipy.linalg.lapack.spotrf(gram, overwrite_a=True)
    if failed:
        raise ValueError(f"l2 = {l2:g} is too small for this data in float32; try {10 * l2:g}")
    inverse, _ = scipy.linalg.lapack.spotri(factor, overwrite_c=True)
    inverse = inverse + inverse.T  # of the symmetric matrix LAPACK gives one triangle
    weights = np.ascontiguousarray(inverse / (-0.5 * np.diag(inverse)))
    np.fill_diagonal(weights, 0.0)
    return lambda users: likes[users] @ weights


def fit_ials(
    liked: ItemSets,
    num_items: int,
    *,
    embedding_dim: int,
    unobserved_weight: float,
    l2: float,
    sweeps: int,
    seed: int = 0,
) -> ScoreFn:
    """Fits iALS (Rendle et al., RecSys 2022, arXiv:2110.14037).

    ``compute_factors`` has the objective and the arguments.

    Returns:
      The scores: products of a user's and an item's vector.

    Raises:
      ValueError: if a setting is out of its range or an item outside the catalogue.

    Example:
      >>> liked = ItemSets.of_pairs(np.array([0, 0, 1]), np.array([0, 1, 1]), num_users=2)
      >>> settings = {"embedding_dim": 2, "unobserved_weight": 0.1, "l2": 0.1, "sweeps": 9}
      >>> scores = fit_ials(liked, num_items=3, **settings)
      >>> (scores(np.array([0, 1])) > 0.5).tolist()
      [[True, True, False], [False, True, False]]
    """
    user, item = compute_factors(
        liked,
        num_items,
        embedding_dim=embedding_dim,
        unobserved_weight=unobserved_weight,
        l2=l2,
        sweeps=sweeps,
        seed=seed,
    )
    return lambda users: user[users] @ item.T


def compute_factors(
    liked: ItemSets,
    num_items: int,
    *,
    embedding_dim: int,
    unobserved_weight: float,
    l2: float,
    sweeps: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the vectors of iALS, with regularisation scaled by frequency.

    The objective is that of Rendle et al. (RecSys 2022, arXiv:2110.14037) with ν = 1, for scores s:
    Σ_liked (s − 1)² + α Σ_all s² + λ Σ_users (items of the user + α · num_items) ‖user‖², and the
    same of items. It never rises, as each sweep has the best items for the users, and then the best
    users for the items. The best λ falls with α and the catalogue's size, so ``l2`` is λ in units
    of 1 / (α · num_items): it is what a user without items would have.

    Args:
      liked: items of each user.
      num_items: of the catalogue.
      embedding_dim: width of a vector, at least 1.
      unobserved_weight: α, above 0.
      l2: λ · α · num_items, above 0.
      sweeps: how often all items and all users are solved, at least 1.
      seed: of the users' first vectors, which are small.

    Returns:
      The users' vectors, float32 [num_users, embedding_dim], and the items'
      [num_items, embedding_dim].

    Raises:
      ValueError: if a setting is out of its range or an item outside the catalogue.
    """
    _check_items(liked, num_items)
    _check_setting("embedding_dim", embedding_dim, minimum=1)
    _check_setting("unobserved_weight", unobserved_weight, above=0)
    _check_setting("l2", l2, above=0)
    _check_setting("sweeps", sweeps, minimum=1)
    likers = ItemSets.of_pairs(liked.items, liked.users, num_users=num_items)  # of each item
    scaled = l2 / (unobserved_weight * num_items)
    shape = liked.start.size - 1, embedding_dim
    user = np.random.default_rng(seed).normal(size=shape) * 0.1 / np.sqrt(embedding_dim)
    for _ in range(sweeps):
        item = _solve_rows(likers, user, unobserved_weight, scaled)
        user = _solve_rows(liked, item, unobserved_weight, scaled)
    return user, item


def _solve_rows(sets: ItemSets, vectors: np.ndarray, weight: float, l2: float) -> np.ndarray:
    """Returns the best vector of each row for the vectors of the other side.

    With W the vectors of a row's set, V all vectors and r the row's regularisation, the vector is
    (W'W + weight · V'V + r)⁻¹ W'1. In the basis of V'V's eigenvectors all but W'W is a diagonal D,
    so for small sets it is D⁻¹W' (1 + W D⁻¹ W')⁻¹ 1, a system as large as the set.

    Args:
      sets: what each row likes.
      vectors: of the other side, [n, D].
      weight: of what is not observed.
      l2: λ, before it is scaled by frequency.

    Returns:
      The rows' vectors, float32 [rows, D].
    """
    vectors = vectors.astype(np.float64)
    eigenvalues, basis = np.linalg.eigh(vectors.T @ vectors)
    rotated = np.vstack([vectors @ basis, np.zeros(basis.shape[0])]).astype(np.float32)
    regularisation = l2 * (sets.counts + weight * len(vectors))
    diagonal = weight * eigenvalues.clip(min=0) + regularisation[:, None]
    diagonal = diagonal.astype(np.float32)
    solved = np.empty_like(diagonal)
    for rows, places in _pad_sets(sets, padding=len(vectors)):
        solved[rows] = _solve_block(rotated[places], diagonal[rows])
    return solved @ basis.T.astype(np.float32)


def _solve_block(liked: np.ndarray, diagonal: np.ndarray) -> np.ndarray:
    """Returns (W'W + D)⁻¹ W'1 of each row, [B, D].

    Args:
      liked: W, [B, n, D]; rows of zeros are padding and change nothing.
      diagonal: D, [B, D].
    """
    _, entries, dim = liked.shape
    if entries <= dim:
        scaled = liked / diagonal[:, None]
        system = scaled @ liked.mT + np.eye(entries, dtype=np.float32)
        weights = np.linalg.solve(system, np.ones((entries, 1), np.float32))
        return np.squeeze(scaled.mT @ weights, -1)
    step = max(1, BLAS_THREADED // dim**2)
    parts = (liked[:, begin : begin + step] for begin in range(0, entries, step))
    system = sum(part.mT @ part for part in parts)
    system[:, np.arange(dim), np.arange(dim)] += diagonal
    return np.squeeze(np.linalg.solve(system, liked.sum(1)[..., None]), -1)


def _pad_sets(sets: ItemSets, padding: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields rows [B] and what is in their sets, [B, n]; sets of similar sizes come together."""
    order = np.argsort(-sets.counts, kind="stable")
    while order.size:
        width = int(sets.counts[order[0]])
        rows, order = np.split(order, [max(1, BLOCK_ENTRIES // max(1, width))])
        place = np.arange(width)
        is_set = place < sets.counts[rows][:, None]
        entries = np.full(is_set.shape, padding, np.int32)
        entries[is_set] = sets.items[(sets.start[rows][:, None] + place)[is_set]]
        yield rows, entries


def _to_sparse(liked: ItemSets, num_items: int) -> scipy.sparse.csr_array:
    """Returns 1 for each item that a user likes, float32 [num_users, num_items]."""
    ones = np.ones(liked.items.size, np.float32)
    shape = liked.start.size - 1, num_items
    return scipy.sparse.csr_array((ones, liked.items, liked.start), shape=shape)


def _check_items(liked: ItemSets, num_items: int) -> None:
    if liked.items.size and not 0 <= liked.items.min() <= liked.items.max() < num_items:
        outside = liked.items[(liked.items < 0) | (liked.items >= num_items)][0]
        raise ValueError(
            f"items are numbered from 0 to num_items - 1 = {num_items - 1}, got item {outside}"
        )


def _check_setting(
    name: str, value: float, *, minimum: float = -np.inf, above: float = -np.inf
) -> None:
    if not (value >= minimum and value > above and value < np.inf):
        expected = f"at least {minimum}" if minimum > -np.inf else f"above {above}"
        raise ValueError(f"{name} is a number {expected}, got {value}")


CLOSED_FORMS = {
    form.name: form
    for form in (
        ClosedForm(name="popularity", fit=fit_popularity, grid={}),
        ClosedForm(
            name="item_knn",
            fit=fit_item_knn,
            grid={
                "neighbours": (5, 10, 20, 40, 80, 160, 320, 640, 1000),
                "shrink": (0.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0),
            },
        ),
        ClosedForm(
            name="ease",
            fit=fit_ease,
            grid={"l2": (2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3)},
        ),
        ClosedForm(
            name="ials",
            fit=fit_ials,
            grid={
                "embedding_dim": (64,),
                "unobserved_weight": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
                "l2": (1.0, 2.0, 3.5, 6.0, 10.0, 20.0),
                "sweeps": (16,),
            },
        ),
    )
}
