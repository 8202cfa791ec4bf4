"""``convkit bench``: this library and the peers installed beside it, side by side.

One process, the same arrays, the same number of threads; results are checked under the same settings before anything is
timed, then everybody is timed in turn, round after round, and medians are compared.
"""

from convkit.cli.bench.command import bench_command
from convkit.cli.bench.measurement import Outcome, Timing, measure
from convkit.cli.bench.problems import Problem
from convkit.cli.bench.suites import SUITES, suites

__all__ = ["SUITES", "Outcome", "Problem", "Timing", "bench_command", "measure", "suites"]
