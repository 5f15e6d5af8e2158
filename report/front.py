"""What no loss beats in both: its length and its reward."""

from collections.abc import Sequence


def on_front(complexities: Sequence[int], rewards: Sequence[float]) -> list[bool]:
    """Say which losses are on the Pareto front of a short length and a high reward.

    A loss is, if every other one that is at most as long has a lower reward, and every one with at
    least its reward is longer; two that are equal in both share their place.

    Args:
        complexities: length of each loss.
        rewards: of the same losses, finite.

    Raises:
        ValueError: when there are not as many of one as of the other.

    Example:
        >>> on_front([3, 3, 5, 7, 9], [0.6, 0.5, 0.6, 0.8, 0.7])
        [True, False, False, True, False]
    """
    best, top = {}, float("-inf")  # by complexity; of all that are as short
    pairs = list(zip(complexities, rewards, strict=True))
    for complexity, reward in sorted(pairs, key=lambda pair: (pair[0], -pair[1])):
        if reward > top:
            best[complexity] = top = reward
    return [best.get(complexity) == reward for complexity, reward in pairs]
