"""Metrics are written as Prometheus reads them: its own parser is the witness."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from terway.model.exposition import Gauge, Histogram


def read(metric):
    text = "\n".join(metric.lines()) + "\n"
    (family,) = text_string_to_metric_families(text)
    return family.type, {
        (sample.name, *sorted(sample.labels.items())): sample.value for sample in family.samples
    }


def test_a_histogram_adds_up():
    histogram = Histogram(name="took", text="seconds", buckets=(0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.observe((("verb", "ADD"),), value)

    kind, samples = read(histogram)

    assert kind == "histogram"
    assert samples == {
        ("took_bucket", ("le", "0.1"), ("verb", "ADD")): 2,
        ("took_bucket", ("le", "1.0"), ("verb", "ADD")): 3,
        ("took_bucket", ("le", "+Inf"), ("verb", "ADD")): 4,
        ("took_count", ("verb", "ADD")): 4,
        ("took_sum", ("verb", "ADD")): 7.65,
    }


def test_a_gauge_has_its_values_by_label():
    gauge = Gauge(name="enis", text="by phase", values={(("phase", "in use"),): 2, (): 0})

    assert read(gauge) == ("gauge", {("enis", ("phase", "in use")): 2, ("enis",): 0})


def test_labels_are_escaped():
    odd = 'a "quoted"\\ value\nof two lines'

    _, samples = read(Gauge(name="odd", text="", values={(("is", odd),): 1}))

    assert samples == {("odd", ("is", odd)): 1}
