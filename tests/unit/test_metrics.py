"""
What is counted can be read back, by Prometheus and by ourselves, and stays bounded.
"""

from __future__ import annotations

from math import ceil

from hypothesis import given
from hypothesis.strategies import floats, integers, lists
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.metrics import (
    CONTENT_TYPE,
    LATENCY_BUCKETS,
    MAX_NAMES,
    Metrics,
    by_label,
    events_by_name,
    quantiles,
    usage,
    value,
)


class MetricsTests(SynchronousTestCase):
    """
    The counters of an instance.
    """

    def setUp(self) -> None:
        """
        Nothing has been counted.
        """
        self.metrics = Metrics()

    def exposed(self) -> dict[str, float]:
        """
        What a Prometheus would read: values by name and labels.
        """
        text = self.metrics.exposition().decode()
        return {
            sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def test_both_read_the_same(self) -> None:
        """
        What was counted is in the exposition, and is what our own reading says.
        """
        self.metrics.deliveries.inc(3)
        self.metrics.closes.labels("4009").inc()
        self.metrics.closes.labels("1001").inc(2)
        self.metrics.event("message.create")
        exposed = self.exposed()
        self.assertEqual(exposed["gatewayd_deliveries_total"], 3)
        self.assertEqual(value(self.metrics.deliveries), 3)
        self.assertEqual(exposed["gatewayd_closes_total 4009"], 1)
        self.assertEqual(by_label(self.metrics.closes), {"4009": 1, "1001": 2})
        self.assertEqual(exposed["gatewayd_events_total message.create"], 1)
        self.assertEqual(events_by_name(self.metrics), {"message.create": 1})

    def test_nothing_counted_is_zero(self) -> None:
        """
        A counter that was never raised stands at 0, and one with a label has no values.
        """
        self.assertEqual(value(self.metrics.deliveries), 0)
        self.assertEqual(by_label(self.metrics.closes), {})

    def test_instances_do_not_share(self) -> None:
        """
        Several instances in one process count apart.
        """
        other = Metrics()
        self.metrics.replayed.inc()
        self.assertEqual(value(other.replayed), 0)

    def test_a_gauge_is_asked_at_each_scrape(self) -> None:
        """
        A gauge's value is that of the moment.
        """
        values = iter([1.0, 2.0])
        self.metrics.gauge("sessions", "Sessions.", lambda: next(values))
        self.assertEqual(self.exposed()["gatewayd_sessions"], 1)
        self.assertEqual(self.exposed()["gatewayd_sessions"], 2)

    def test_names_are_bounded(self) -> None:
        """
        Past the first hundred, event names are counted together, the first hundred still each
        for itself.
        """
        for number in range(MAX_NAMES + 50):
            self.metrics.event(f"name.{number}")
        self.metrics.event("name.0")
        self.metrics.event(f"name.{MAX_NAMES + 1}")
        counted = events_by_name(self.metrics)
        self.assertEqual(len(counted), MAX_NAMES + 1)
        self.assertEqual(counted["name.0"], 2)
        self.assertEqual(counted[f"name.{MAX_NAMES - 1}"], 1)
        self.assertEqual(counted["other"], 51)
        self.assertEqual(sum(counted.values()), MAX_NAMES + 52)

    def test_a_name_may_be_any_text(self) -> None:
        """
        Names are the publishers' choice: quotes, line ends and backslashes in them do not
        break the exposition.
        """
        name = 'a"b\\c\nd\N{SNOWMAN}'
        self.metrics.event(name)
        self.assertEqual(self.exposed()[f"gatewayd_events_total {name}"], 1)
        self.assertEqual(events_by_name(self.metrics), {name: 1})

    def test_tells_of_the_process(self) -> None:
        """
        The exposition has the process' own figures, and so have we.
        """
        seconds, size = usage(self.metrics)
        exposed = self.exposed()
        self.assertGreaterEqual(exposed["process_cpu_seconds_total"], seconds)
        self.assertGreater(size, 1 << 20)
        self.assertIn("text/plain", CONTENT_TYPE)


class QuantilesTests(SynchronousTestCase):
    """
    Estimates from a histogram.
    """

    def estimates(self, observed: list[float], wanted: tuple[float, ...]) -> list[float | None]:
        """
        The estimates after these were observed.
        """
        histogram = Histogram(
            "seconds", "Seconds.", buckets=LATENCY_BUCKETS, registry=CollectorRegistry()
        )
        for one in observed:
            histogram.observe(one)
        return quantiles(histogram, wanted)

    def test_nothing_observed(self) -> None:
        """
        Where nothing was observed there is nothing to estimate.
        """
        self.assertEqual(self.estimates([], (0.5, 0.99)), [None, None])

    def test_is_linear_within_a_bucket(self) -> None:
        """
        Observations are taken to be spread evenly over their bucket, as Prometheus does.
        """
        low, high = LATENCY_BUCKETS[2:4]
        found = self.estimates([high] * 4, (0.25, 0.5, 1.0))
        for estimate, share in zip(found, (0.25, 0.5, 1.0), strict=True):
            assert estimate is not None
            self.assertAlmostEqual(estimate, low + (high - low) * share)

    def test_the_first_bucket_begins_at_zero(self) -> None:
        """
        Below the first bound the estimate is between it and 0.
        """
        self.assertEqual(self.estimates([0.0001] * 2, (0.0, 0.5)), [0.0, LATENCY_BUCKETS[0] / 2])

    def test_what_is_past_the_last_bound_is_the_last_bound(self) -> None:
        """
        There is no better estimate for what has no upper bound.
        """
        self.assertEqual(self.estimates([1e6], (0.5,)), [LATENCY_BUCKETS[-1]])

    @given(lists(floats(0, 100), min_size=1, max_size=200), integers(1, 100))
    def test_is_in_the_bucket_of_the_true_one(self, observed: list[float], percent: int) -> None:
        """
        Whatever was observed, an estimate is off by no more than its bucket is wide, and the
        estimates of higher quantiles are not lower.
        """
        share = percent / 100
        estimate, top = self.estimates(observed, (share, 1.0))
        assert estimate is not None
        assert top is not None
        true = sorted(observed)[ceil(share * len(observed)) - 1]
        bounds = (0.0, *LATENCY_BUCKETS)
        lower = max(bound for bound in bounds if bound < true or bound == 0.0)
        upper = min((bound for bound in bounds[1:] if bound >= true), default=bounds[-1])
        self.assertLessEqual(min(lower, bounds[-1]), estimate)
        self.assertLessEqual(estimate, upper + 1e-9)
        self.assertLessEqual(estimate, top)
