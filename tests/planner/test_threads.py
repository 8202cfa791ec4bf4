"""Threads: set by hand or by the environment, many callers at once, a fork after use."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import convkit as ck
from convkit import threads
from convkit.planner.plan import forget_plans

X = np.random.default_rng(2).standard_normal((400, 350))
K = np.random.default_rng(3).standard_normal((9, 6))


@pytest.fixture(autouse=True)
def restore() -> None:
    before = ck.num_threads()
    yield
    ck.set_num_threads(before)


@pytest.mark.parametrize("method", ["compiled", "direct", "overlap-save", "gemm", "fft"])
def test_the_result_does_not_depend_on_the_number_of_threads(method: str) -> None:
    results = []
    for count in (1, 2, 3, 5):
        ck.set_num_threads(count)
        results.append(ck.convolve(X, K, "same", boundary="wrap", method=method).tobytes())
    assert len(set(results)) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_choice_does_not_depend_on_the_number_of_threads(dtype: str) -> None:
    # Shapes at which the predictions of two ways lie close together.
    shapes = [((n,), (k,)) for n in (1000, 5000, 30000, 100000, 1000000) for k in (5, 31, 120, 255, 500, 2000)]
    shapes += [((n, n), (k, k + 1)) for n in (60, 130, 256, 512, 1024, 2048) for k in (3, 5, 9, 15, 23, 31, 63)]
    chosen = []
    for count in (1, 2, 3, 8):
        ck.set_num_threads(count)
        forget_plans()
        chosen.append([ck.plan(*shape, dtype, mode="same").choice for shape in shapes])
    assert chosen[0] == chosen[1] == chosen[2] == chosen[3]


def test_eight_callers_at_once() -> None:
    ck.set_num_threads(3)
    expected = ck.convolve(X, K, "same", method="direct")
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: ck.convolve(X, K, "same", method="direct"), range(24)))
    assert all(np.array_equal(result, expected) for result in results)


def test_a_number_changed_while_others_compute() -> None:
    expected = ck.convolve(X, K, "same", method="overlap-save")
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(ck.convolve, X, K, "same", method="overlap-save") for _ in range(12)]
        for count in (1, 4, 2, 3, 1, 2):
            ck.set_num_threads(count)
        assert all(np.array_equal(future.result(), expected) for future in futures)


def _in_child(expected: bytes) -> None:
    same = ck.convolve(X, K, "same", method="direct").tobytes() == expected
    os._exit(0 if same else 3)


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_fork_after_use() -> None:
    ck.set_num_threads(3)
    expected = ck.convolve(X, K, "same", method="direct").tobytes()
    child = multiprocessing.get_context("fork").Process(target=_in_child, args=(expected,))
    child.start()
    child.join(60)
    assert child.exitcode == 0


def test_an_error_in_a_task_reaches_the_caller() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    ck.set_num_threads(2)
    with pytest.raises(ZeroDivisionError):
        threads.run_all([lambda: None, fail, lambda: None, fail])
    threads.run_all([lambda: None] * 4)


@pytest.mark.parametrize(
    ("value", "code"), [(0, "option.too-small"), (-2, "option.too-small"), (1.5, "option.not-a-whole-number")]
)
def test_a_wrong_number_is_refused(value: object, code: str) -> None:
    with pytest.raises(ck.ConvError) as caught:
        ck.set_num_threads(value)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("value", "said"), [("3", "3"), ("many", "option.not-a-whole-number"), ("0", "option.too-small")]
)
def test_the_environment_sets_the_number(value: str, said: str) -> None:
    program = "import convkit as ck\ntry: print(ck.num_threads())\nexcept ck.ConvError as e: print(e.code)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "CONVKIT_NUM_THREADS": value},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == said
