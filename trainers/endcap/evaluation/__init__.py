"""Evaluation: metrics, splits and reports for any strategy on any data set."""

from endcap.evaluation.chart import draw
from endcap.evaluation.data import CaseHistories, Cases, EvaluationData, HeldOut, TuningData
from endcap.evaluation.evaluator import evaluate
from endcap.evaluation.report import Measure, Report, SliceReport, table
from endcap.evaluation.settings import VALIDATION, Setting
from endcap.evaluation.splits import read_evaluation_data, read_tuning_data


__all__ = [
    "VALIDATION",
    "CaseHistories",
    "Cases",
    "EvaluationData",
    "HeldOut",
    "Measure",
    "Report",
    "Setting",
    "SliceReport",
    "TuningData",
    "draw",
    "evaluate",
    "read_evaluation_data",
    "read_tuning_data",
    "table",
]
