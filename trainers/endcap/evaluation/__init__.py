"""Evaluation: metrics, splits and reports for any strategy on any data set."""

from endcap.evaluation.chart import draw
from endcap.evaluation.data import CaseHistories, Cases, EvaluationData
from endcap.evaluation.evaluator import evaluate
from endcap.evaluation.report import Measure, Report, SliceReport, table
from endcap.evaluation.splits import Setting, read_evaluation_data


__all__ = [
    "CaseHistories",
    "Cases",
    "EvaluationData",
    "Measure",
    "Report",
    "Setting",
    "SliceReport",
    "draw",
    "evaluate",
    "read_evaluation_data",
    "table",
]
