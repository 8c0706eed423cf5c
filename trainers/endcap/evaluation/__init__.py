"""Evaluation: metrics, splits and reports for any strategy on any data set."""

from endcap.evaluation.chart import draw
from endcap.evaluation.data import CaseHistories, Cases, EvaluationData, HeldOut, TuningData
from endcap.evaluation.differences import best, differences_from
from endcap.evaluation.evaluator import evaluate
from endcap.evaluation.intervals import Difference
from endcap.evaluation.report import Measure, Report, SliceReport
from endcap.evaluation.settings import VALIDATION, Setting
from endcap.evaluation.splits import read_evaluation_data, read_tuning_data
from endcap.evaluation.table import table


__all__ = [
    "VALIDATION",
    "CaseHistories",
    "Cases",
    "Difference",
    "EvaluationData",
    "HeldOut",
    "Measure",
    "Report",
    "Setting",
    "SliceReport",
    "TuningData",
    "best",
    "differences_from",
    "draw",
    "evaluate",
    "read_evaluation_data",
    "read_tuning_data",
    "table",
]
