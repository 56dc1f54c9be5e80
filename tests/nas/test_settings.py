"""Settings: refused where they are made, and the same after JSON."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from typing import Any

import pytest

from hw_cost_models.cost import Workload
from nas.budget import Budget
from nas.errors import BadInputError
from nas.settings import PRESETS, Effort, Settings


@pytest.mark.parametrize("field", [f.name for f in fields(Effort)])
@pytest.mark.parametrize("value", [0, -3, math.nan])
def test_every_count_and_rate_must_be_positive(field: str, value: Any) -> None:
    with pytest.raises(BadInputError, match=rf"^effort\.{field}: {value} is not [^\n]*$"):
        replace(PRESETS["quick"], **{field: value})


def test_too_few_evaluations_are_refused_before_anything_is_trained() -> None:
    with pytest.raises(BadInputError, match=r"^effort\.evaluations: 9 is not enough[^\n]*10"):
        replace(PRESETS["quick"], evaluations=9)
    assert replace(PRESETS["quick"], evaluations=10).evaluations == 10


def test_presets_do_more_and_more() -> None:
    quick, standard, thorough = PRESETS.values()
    assert list(PRESETS) == ["quick", "standard", "thorough"]
    for count in ("supernet_steps", "architecture_steps", "evaluations", "candidates", "train_steps"):
        assert getattr(quick, count) < getattr(standard, count) < getattr(thorough, count)
    assert quick.random_architectures >= 20


@pytest.mark.parametrize("budget", [None, Budget(latency_ms=2.5, params_m=1)])
def test_settings_survive_json(budget: Budget | None) -> None:
    settings = Settings(
        space="s",
        task="t",
        data=None,
        device="local",
        threads=2,
        runtime="onnxruntime",
        provider="CPUExecutionProvider",
        workload=Workload(3, 17),
        statistic="p95",
        budget=budget,
        context=512,
        preset="quick",
        effort=PRESETS["quick"],
        controller="darts",
        schedule="joint",
        seed=5,
        training_threads=1,
    )
    data: dict[str, Any] = json.loads(json.dumps(settings.to_dict()))
    assert Settings.from_dict(data) == settings


def test_batches_of_small_examples_are_larger() -> None:
    quick = PRESETS["quick"]
    images = quick.scaled(16)
    assert (images.batch_size, images.architecture_batch, images.evaluation_batch) == (64, 128, 128)
    assert images.scaled(1) == images
    assert replace(images, batch_size=4, architecture_batch=8, evaluation_batch=8) == quick
