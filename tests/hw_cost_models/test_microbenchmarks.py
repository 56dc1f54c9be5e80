"""That microbenchmarks are valid, run, stay small and are the same every time."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from hw_cost_models.microbenchmarks import Microbenchmark, microbenchmarks


@pytest.fixture(scope="module")
def made() -> dict[str, Microbenchmark]:
    return microbenchmarks()


def _first_of_each(made: dict[str, Microbenchmark]) -> list[Microbenchmark]:
    return [benchmark for name, benchmark in made.items() if name.endswith((".0", ".5"))]


def test_they_run_and_give_one_finite_number(made: dict[str, Microbenchmark]) -> None:
    for benchmark in _first_of_each(made):
        onnx.checker.check_model(benchmark.model, full_check=True)
        session = onnxruntime.InferenceSession(benchmark.model.SerializeToString())
        (result,) = session.run(None, benchmark.inputs)
        assert result.shape == (1, 1)


def test_dimensions_are_those_that_the_file_leaves_free(made: dict[str, Microbenchmark]) -> None:
    for benchmark in _first_of_each(made):
        free = {
            dim.dim_param
            for value in benchmark.model.graph.input
            for dim in value.type.tensor_type.shape.dim
            if dim.dim_param
        }
        assert free == benchmark.dimensions.keys()
    assert any(benchmark.dimensions for benchmark in made.values())


def test_no_input_is_large(made: dict[str, Microbenchmark]) -> None:
    assert max(x.size for benchmark in made.values() for x in benchmark.inputs.values()) < 2**22


def test_they_are_the_same_every_time_and_differ_from_each_other(made: dict[str, Microbenchmark]) -> None:
    again = microbenchmarks()
    assert made.keys() == again.keys()
    for name in ("convolutions.convolution.3", "products.linear.0", "others.gather.2"):
        assert made[name].model == again[name].model
        np.testing.assert_array_equal(made[name].inputs["input0"], again[name].inputs["input0"])
    assert made["products.linear.0"].model != made["products.linear.1"].model
