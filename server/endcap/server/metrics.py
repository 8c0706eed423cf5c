"""The metrics of the server, for Prometheus. Labels hold names from the configuration only, never ids."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from endcap.sdk.errors import Unavailable


_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """The server's counters, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._calls = Counter(
            "endcap_calls", "Calls by method and status code.", ("method", "code"), registry=self.registry
        )
        self._seconds = Histogram(
            "endcap_call_seconds",
            "Time from a call's first byte to its answer.",
            ("method",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._in_flight = Gauge("endcap_calls_in_flight", "Calls being answered.", registry=self.registry)
        self._rungs = Counter(
            "endcap_rungs",
            "Rungs of ladders that were asked, by strategy and failure; empty when there was none.",
            ("strategy", "failure"),
            registry=self.registry,
        )
        self._dropped = Counter(
            "endcap_dropped_items",
            "Items that a strategy named and that were not allowed.",
            ("strategy", "cause"),
            registry=self.registry,
        )
        self._batch_size = Histogram(
            "endcap_batch_size",
            "Queries that one run of a strategy answered together.",
            ("strategy",),
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=self.registry,
        )
        self.exposures_lost = Counter(
            "endcap_exposures_lost", "Exposures that will not be stored.", registry=self.registry
        )
        self.events_lost = Counter(
            "endcap_events_lost",
            "Buffered events that were acknowledged and will not be stored.",
            registry=self.registry,
        )
        self._maintenance_failures = Counter(
            "endcap_maintenance_failures",
            "Failures of the work beside the calls, by its name; each is in the log and tried again.",
            ("work",),
            registry=self.registry,
        )

    def call_started(self) -> None:
        """Count a call in."""
        self._in_flight.inc()

    def call_ended(self, method: str, code: str, seconds: float) -> None:
        """Count a call out."""
        self._in_flight.dec()
        self._calls.labels(method, code).inc()
        self._seconds.labels(method).observe(seconds)

    def rung(self, strategy: str, failure: str, dropped: Iterable[tuple[str, int]]) -> None:
        """Count a rung that was asked.

        Args:
            strategy: The name of its strategy.
            failure: The name of its failure; empty where it did not fail.
            dropped: The number of items that it must not have returned, by cause.
        """
        self._rungs.labels(strategy, failure).inc()
        for cause, count in dropped:
            self._dropped.labels(strategy, cause).inc(count)

    def batch(self, strategy: str, size: int) -> None:
        """Count one run of a strategy."""
        self._batch_size.labels(strategy).observe(size)

    def watch_breakers(self, states: Callable[[], Iterable[tuple[str, int]]]) -> None:
        """Show circuit breakers.

        Args:
            states: Returns the strategy and the state of each; called in the thread that answers
                Prometheus, each time.
        """
        self.registry.register(_Breakers(states))

    def maintenance_failed(self, work: str) -> None:
        """Count a failure of the work beside the calls."""
        self._maintenance_failures.labels(work).inc()

    def serve(self, port: int) -> None:
        """Answer Prometheus on a port of 127.0.0.1, from a thread of its own.

        Raises:
            Unavailable: The port is taken.
        """
        try:
            start_http_server(port, addr="127.0.0.1", registry=self.registry)
        except OSError as error:
            raise Unavailable(
                f"port {port} for metrics is taken: stop what listens there or choose another"
            ) from error


class _Breakers(Collector):
    """The states of circuit breakers, looked up when they are asked for, so that none outlives its shop."""

    def __init__(self, states: Callable[[], Iterable[tuple[str, int]]]) -> None:
        self._states = states

    def collect(self) -> Iterator[GaugeMetricFamily]:
        worst: dict[str, int] = {}
        for strategy, state in self._states():
            worst[strategy] = max(state, worst.get(strategy, state))
        family = GaugeMetricFamily(
            "endcap_circuit_breaker_state",
            "Circuit breaker of a strategy: 0 closed, 1 half-open, 2 open; the worst of all shops.",
            labels=("strategy",),
        )
        for strategy, state in worst.items():
            family.add_metric((strategy,), state)
        yield family
