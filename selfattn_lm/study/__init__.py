"""Comparisons of encoders on growing parts of a dataset, and on generated texts."""

from selfattn_lm.study.comparison import compare
from selfattn_lm.study.probe import PROBE, probe
from selfattn_lm.study.results import ProbeResult, StudyResult

__all__ = ["PROBE", "ProbeResult", "StudyResult", "compare", "probe"]
