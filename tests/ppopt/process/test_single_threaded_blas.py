"""Searches limit numpy's matrix library to one thread, and restore the previous setting."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import ppopt
from ppopt import Pipeline
from ppopt.process.single_threaded_blas import single_threaded_blas
from solver.errors import InputError

assert np  # loads the library


def threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    with threadpool_limits(limits=3, user_api="blas"):
        if threads() != {3}:
            pytest.skip("numpy's matrix library has no threads here")
        yield


def test_a_search_has_one_thread() -> None:
    seen: list[set[int]] = []
    pipeline = Pipeline.from_mapping({"devices": 3, "microbatches": 5, "memory": {"limit": 2}})
    ppopt.optimize(pipeline, time_limit=2, progress=lambda _: seen.append(threads()))
    assert seen
    assert all(each == {1} for each in seen)
    assert threads() == {3}


def test_a_plan_has_one_thread() -> None:
    seen: list[set[int]] = []
    layers = [
        {"name": "decoder", "forward": 1, "backward": 2, "count": 9},
        {"name": "head", "forward": 2, "backward": 4},
    ]
    pipeline = Pipeline.from_mapping({"devices": 3, "microbatches": 5, "layers": layers})
    ppopt.plan(pipeline, ["1f1b", "interleaved"], time_limit=2, progress=lambda _: seen.append(threads()))
    assert seen
    assert all(each == {1} for each in seen)
    assert threads() == {3}


def test_what_held_before_comes_back_after_an_error() -> None:
    with pytest.raises(InputError), single_threaded_blas():
        raise InputError
    assert threads() == {3}
