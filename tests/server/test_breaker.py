"""The circuit breaker: worked by hand, on a clock of its own."""

from endcap.server.metrics import Metrics
from endcap.server.serving.breaker import BreakerState, CircuitBreaker


class Clock:
    """A clock that stands until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> CircuitBreaker:
    """Return a breaker that five failures in a row, now, have opened."""
    breaker = CircuitBreaker(clock)
    for _ in range(5):
        assert breaker.admits()
        breaker.failed()
    return breaker


def test_a_success_between_failures_keeps_it_closed() -> None:
    breaker = CircuitBreaker(Clock())

    for outcome in ("failed", "failed", "failed", "failed", "succeeded") * 3:
        getattr(breaker, outcome)()

    assert breaker.state is BreakerState.CLOSED
    assert breaker.admits()


def test_five_failures_in_a_row_open_it_for_five_seconds() -> None:
    clock = Clock()
    breaker = opened(clock)

    clock.now = 4.999

    assert breaker.state is BreakerState.OPEN
    assert not breaker.admits()


def test_half_open_admits_one_probe_and_nobody_beside_it() -> None:
    clock = Clock()
    breaker = opened(clock)

    clock.now = 5.0

    assert [breaker.admits() for _ in range(3)] == [True, False, False]
    assert breaker.state is BreakerState.HALF_OPEN


def test_a_probe_that_succeeds_closes_it() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 5.0
    breaker.admits()

    breaker.succeeded()
    for _ in range(4):  # one fewer than opens it
        breaker.failed()

    assert breaker.state is BreakerState.CLOSED


def test_a_probe_that_fails_opens_it_for_another_five_seconds() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 7.0
    breaker.admits()

    breaker.failed()

    clock.now = 11.9
    assert not breaker.admits()
    clock.now = 12.0
    assert breaker.admits()


def test_the_metric_shows_the_worst_breaker_of_a_strategy() -> None:
    closed, open_ = CircuitBreaker(Clock()), opened(Clock())
    metrics = Metrics()

    metrics.watch_breakers(lambda: [("ease", closed.state), ("ease", open_.state), ("popular", closed.state)])

    states = {
        strategy: metrics.registry.get_sample_value("endcap_circuit_breaker_state", {"strategy": strategy})
        for strategy in ("ease", "popular")
    }
    assert states == {"ease": 2, "popular": 0}
