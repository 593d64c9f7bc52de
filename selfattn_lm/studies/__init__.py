"""Comparisons of encoders on growing parts of a dataset, and on generated texts."""

from selfattn_lm.studies.comparison import compare
from selfattn_lm.studies.probe import PROBE, probe
from selfattn_lm.studies.results import ProbeResult, StudyResult

__all__ = ["PROBE", "ProbeResult", "StudyResult", "compare", "probe"]
