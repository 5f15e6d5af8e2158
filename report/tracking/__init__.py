"""Trackers: where a run can be followed, besides the files of its folder.

TensorBoard's events are always written; Weights & Biases and MLflow need extras of their own, and
are used where ``trackers`` of the config names them.
"""

from .trackers import TRACKERS, TrackerError, Trackers, check_trackers, open_trackers

__all__ = ["TRACKERS", "TrackerError", "Trackers", "check_trackers", "open_trackers"]
