"""Your own interactions, CSV, Parquet or another format, with BiasedMF.

Command:
  ``python run.py --config=configs/csv.py --config.data.path=FILE``, with ``--config.data.user``,
  ``item`` and ``label`` where columns are not called user, item and rating, and
  ``--config.data.threshold`` where labels are not 0 and 1.
Time on two cores:
  not measured; it grows with the number of interactions.
Result:
  a loss for your data, and a fair test against the baselines.
Presets:
  all of configs/presets.py.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from autolossgen.configs import base, presets


def get_config(preset: str = "") -> ConfigDict:
    """Returns the config, or that of a preset."""
    config = base.get_config()
    config.name = "csv"
    config.data = ConfigDict()  # keys of its own
    config.data.name = "csv"
    config.data.path = ""  # file of the interactions, required
    config.data.separator = ""  # between columns; empty for the likeliest of tab , ; | :: and blank
    config.data.quoted = (
        True  # fields in double quotes may hold separators; False: they are letters
    )
    config.data.columns = ()  # names of all columns, in order; empty where the first line has them
    config.data.user = "user"  # the column of user ids: numbers or words
    config.data.item = "item"  # the column of item ids
    config.data.label = "rating"  # the column of labels; empty where every row is a positive
    config.data.time = ""  # the column of times; empty where the file is in time order
    config.data.threshold = placeholder(float)  # a label above it is 1; None where they are 0 and 1
    config.data.user_path = ""  # a second file, with features of users
    config.data.item_path = ""  # a second file, with features of items
    # user.COLUMN, item.COLUMN or row.COLUMN, then :list for several categories in a cell or :number
    # for a number; hour, weekday
    config.data.features = ()
    config.data.split = "leave_one_out"
    config.data.shares = (0.1, 0.1)
    config.data.seed = 0
    config.data.min_interactions = 5
    config.data.reward_split = "leave_one_out"
    return presets.apply(config, preset)
