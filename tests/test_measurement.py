import json
import statistics

import pytest

from devicekit.measurement import (
    MIN_SAMPLES,
    SCHEMA,
    Measurement,
    Memory,
    from_json,
    percentile,
    pooled,
    spread,
    stability,
    summarize,
)

QUIET = [100.0, 101, 99, 100, 102, 98, 100, 101, 99, 100]


def test_a_summary_keeps_the_samples_in_their_order() -> None:
    latency = summarize([3.0, 1.0, 2.0], first_us=9.0, init_us=None)
    assert latency.samples_us == (3.0, 1.0, 2.0)
    assert (latency.median_us, latency.mean_us, latency.count) == (2.0, 2.0, 3)
    assert (latency.first_us, latency.init_us) == (9.0, None)
    assert latency.stdev_us == statistics.stdev([1, 2, 3])


def test_one_sample_has_no_spread() -> None:
    latency = summarize([5.0], first_us=None, init_us=None)
    assert (latency.median_us, latency.p95_us, latency.stdev_us) == (5.0, 5.0, None)
    assert spread([5.0, 5.0, 5.0]) is None


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (1, 1), (50, 50), (95, 95), (95.1, 96), (100, 100)])
def test_a_percentile_is_one_of_the_values(percent: float, value: float) -> None:
    assert percentile([float(i) for i in range(1, 101)], percent) == value


def test_a_quiet_run_is_stable_and_a_noisy_one_is_not() -> None:
    assert stability(QUIET) == "stable (spread 2.0 %)"
    assert stability([*QUIET[:5], *(2 * value for value in QUIET[5:])]).startswith("noisy")


def test_one_slow_run_in_ten_is_noisy_though_the_quartiles_agree() -> None:
    samples = [100.0, 101.0, 99.0] * 18 + [500.0] * 6
    assert stability(samples) == "noisy (p95 is 5.0 × the median, above 2)"


def test_rounds_pool_their_samples_and_keep_the_most_memory() -> None:
    def one(samples: list[float], must_have: int, load: float) -> Measurement:
        return Measurement(
            evidence="simulated",
            runner="script",
            runtime_version="2.3.0",
            threads=1,
            latency=summarize(samples, first_us=samples[0], init_us=7.0),
            memory=Memory(must_have, must_have, 1, "RssAnon"),
            conditions={"before": {"load": load}, "after": {"load": load + 1}},
            stability=stability(samples),
            device="host",
            model="m.tflite",
            model_sha256="0",
        )

    both = pooled([one([10.0, 12.0], 5, 0.1), one([30.0, 14.0], 9, 0.5)])
    assert both.latency.samples_us == (10.0, 12.0, 30.0, 14.0)
    assert (both.latency.median_us, both.latency.first_us, both.latency.count) == (13.0, 10.0, 4)
    assert both.memory.must_have_bytes == 9
    assert both.conditions == {"before": {"load": 0.1}, "after": {"load": 1.5}}


def test_a_lone_outlier_does_not_make_a_run_noisy() -> None:
    assert stability([*QUIET, 5000.0]).startswith("stable")


def test_too_few_samples_get_no_verdict() -> None:
    assert stability(QUIET[:-1]) == f"too few samples ({MIN_SAMPLES - 1} of at least {MIN_SAMPLES})"


def test_json_has_the_names_that_scripts_rely_on() -> None:
    measurement = Measurement(
        evidence="simulated",
        runner="script",
        runtime_version="2.3.0",
        threads=1,
        latency=summarize(QUIET, first_us=1.0, init_us=2.0),
        memory=Memory(None, None, None, source="none"),
        conditions={"before": {}, "after": {}},
        stability=stability(QUIET),
        device="host",
        model="m.tflite",
        model_sha256="0" * 64,
    )
    document = json.loads(json.dumps(measurement.to_json()))
    assert next(iter(document)) == "schema"
    assert document["schema"] == SCHEMA
    names = {
        "evidence",
        "runner",
        "runtime_version",
        "threads",
        "latency",
        "memory",
        "conditions",
        "stability",
    }
    assert names <= set(document)
    assert set(document["latency"]) == {
        "samples_us", "first_us", "init_us", "median_us", "p95_us", "mean_us", "stdev_us", "count",
    }  # fmt: skip
    assert document["memory"]["must_have_bytes"] is None
    assert from_json(document) == measurement


def test_a_document_from_before_rounds_were_kept_is_read_and_a_broken_one_refused() -> None:
    one = Measurement(
        evidence="simulated",
        runner="script",
        runtime_version="2.3.0",
        threads=1,
        latency=summarize(QUIET, first_us=1.0, init_us=2.0),
        memory=Memory(None, None, None, source="none"),
        conditions={},
        stability=stability(QUIET),
        device="host",
        model="m.tflite",
        model_sha256="0" * 64,
    )
    both = pooled([one, one])
    document = json.loads(json.dumps(both.to_json()))
    assert document["round_counts"] == [10, 10]
    assert from_json(document).round_counts == (10, 10)
    older = {key: value for key, value in document.items() if key != "round_counts"}
    assert from_json(older).round_counts == ()
    for broken in (
        {**document, "schema": SCHEMA + 1},
        {**document, "round_counts": [10, 9]},
        {**document, "latency": {**document["latency"], "samples_us": []}},
    ):
        with pytest.raises(ValueError):
            from_json(broken)
