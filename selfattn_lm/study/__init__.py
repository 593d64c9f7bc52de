"""Encoders beside each other: on data at growing shares, and on generated texts at growing distances."""

from selfattn_lm.study.comparison import compare
from selfattn_lm.study.probe import PROBE, probe
from selfattn_lm.study.results import ProbeResult, StudyResult

__all__ = ["PROBE", "ProbeResult", "StudyResult", "compare", "probe"]
