"""The cells of a transfer whose data are rankings: runs of rankings without a search."""

from pathlib import Path

from ml_collections import ConfigDict

from autolossgen.configs.topk import get_config
from autolossgen.language.grammar import FREE_NAME, FREE_VALUE
from autolossgen.language.inputs import as_program
from autolossgen.language.named_losses import PAIRWISE_LOSSES, POINTWISE_LOSSES, named_loss

MODELS = ("mf", "lightgcn")


def make_rank_cells(config: ConfigDict, data_config: ConfigDict) -> dict[str, ConfigDict]:
    """Returns the config of each model of rankings that a transfer names, or of the default one.

    The cell tests the losses of the transfer that are pairwise, and those that ``data_config``
    names. Pointwise losses have no place in it.

    Args:
      config: of the transfer.
      data_config: of the data, from ``configs/topk.py``.

    Raises:
      ValueError: for what is no loss.
    """
    losses = [source for source in config.transfer.losses if not is_pointwise(source)]
    cells = {}
    for model in [name for name in config.transfer.models if name in MODELS] or MODELS[:1]:
        cell = ConfigDict(data_config.to_dict())
        cell.seed, cell.search.generations = config.seed, 0
        cell.contenders.found = config.contenders.found
        cell.contenders.losses = tuple(dict.fromkeys([*losses, *data_config.contenders.losses]))
        cell.model.name = model
        if model != "lightgcn":  # which alone reads layers
            cell.model.layers = get_config().model.layers
        cells[model] = cell
    return cells


def is_pointwise(source: str) -> bool:
    """Whether a loss is of predictions and labels, of which rankings know nothing.

    Raises:
      ValueError: for what is neither a pointwise nor a pairwise loss, nor the path of a run.

    Example:
      >>> is_pointwise("square(label - pred)"), is_pointwise("softplus(-diff / c0)")
      (True, False)
    """
    path = Path(source).expanduser()
    if source in PAIRWISE_LOSSES or path.is_dir() or path.suffix == ".csv":
        return False
    if source in POINTWISE_LOSSES:
        return True
    if source.isidentifier():
        named_loss(source)  # raises, and says which may be meant
    constants = dict.fromkeys(FREE_NAME.findall(source), FREE_VALUE)
    try:
        as_program(source, family="pairwise", **constants)
    except ValueError as error:
        try:
            as_program(source)
        except ValueError:
            raise error from None
        return True
    return False
