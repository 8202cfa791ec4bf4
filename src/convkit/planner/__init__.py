"""CHOICE: what a problem is, what each algorithm would cost, and which one is taken."""

from convkit.planner.algorithm import Algorithm, Cost, ErrorBound, Reason
from convkit.planner.machine import Machine
from convkit.planner.plan import Plan, plan_for
from convkit.planner.problem import Problem
from convkit.planner.report import PlanReport, Row

__all__ = [
    "Algorithm",
    "Cost",
    "ErrorBound",
    "Machine",
    "Plan",
    "PlanReport",
    "Problem",
    "Reason",
    "Row",
    "plan_for",
]
