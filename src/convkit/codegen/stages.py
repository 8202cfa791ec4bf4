"""Programs that follow one another, with the arrays that each is done to: one job for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convkit.codegen import parallel
from convkit.codegen.program import Program
from convkit.codegen.step import TABLES


class Stages:
    """Programs in order, as `convkit.codegen.parallel` goes through them.

    Attributes
    ----------
    at, count : int
        Where the stages are in memory, and how many.
    alone : int
        Where a job of these stages is in memory that one thread does by itself.
    words : memoryview of int64
        All that is known of them, in which the addresses that programs are given may be changed from call to call:
        those of a stage begin at its number times ``STAGE_WORDS`` and ``ENTERED``, in the order of
        `convkit.codegen.step`.
    scratch : int
        Bytes of scratch memory that each thread needs.
    tasks : int
        Tasks of the program that has most.
    seconds : float
        A guess at what all of them take one thread.
    """

    def __init__(self, programs: Sequence[tuple[Program, Sequence[int], float]]) -> None:
        """Each program with its bases, from ``OUT`` on, tables and scratch memory left out, and its seconds."""
        self.count = len(programs)
        self._programs = [program for program, _, _ in programs]  # steps and tables live as long as they are used
        words = np.zeros((self.count + 1) * parallel.STAGE_WORDS, np.int64)
        first = -(-words.ctypes.data // 64) * 8 - words.ctypes.data // 8
        lines = words[first : first + self.count * parallel.STAGE_WORDS]
        rows = lines.reshape(self.count, -1)
        self.at, self.words = lines.ctypes.data, lines.data
        alone = np.zeros(parallel.STAGE, np.int64)
        alone[parallel.STAGES : parallel.COUNT + 1] = self.at, self.count
        self._alone, self.alone = alone.data, alone.ctypes.data
        self._counts = rows[:, parallel.NEXT : parallel.DONE + 1 : parallel.DONE - parallel.NEXT]
        for row, (program, bases, _) in zip(rows, programs, strict=True):
            steps, starts, tables = program.places
            row[parallel.STEPS : parallel.BASES_AT] = steps, starts, program.tasks
            row[parallel.BASES_AT] = row.ctypes.data + 8 * parallel.ENTERED
            row[parallel.ENTERED + 1 : parallel.ENTERED + TABLES] = bases[: TABLES - 1]
            row[parallel.ENTERED + TABLES] = tables
            rest = bases[TABLES - 1 :]
            row[parallel.ENTERED + TABLES + 1 : parallel.ENTERED + TABLES + 1 + len(rest)] = rest
        self.scratch = max(program.scratch for program in self._programs)
        self.tasks = max(program.tasks for program in self._programs)
        self.seconds = sum(seconds for _, _, seconds in programs)

    def lend(self, scratch: int, size: int) -> None:
        """Say where a thread that works alone has its scratch memory, and how many bytes."""
        self._alone[parallel.SCRATCH], self._alone[parallel.SCRATCH_BYTES] = scratch, size

    def begin(self) -> None:
        """Count tasks from the first one on again."""
        self._counts.fill(0)
