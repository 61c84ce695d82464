"""Numbers for Prometheus, with vLLM's suffixes and buckets, so that its dashboards fit.

Knows counts and seconds; must not know requests or HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import ClassVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from hocket.infer.options import EngineState
from hocket.infer.request import Completion
from hocket.serve.errors import ApiError

_LABELS = ("model_name",)
_FIRST_TOKEN = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560),
)
_BETWEEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20)
_WHOLE = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920)


class Metrics:
    """The numbers of one server.

    Args:
        states: model -> what its engine is doing, asked for when somebody reads the numbers.
    """

    def __init__(self, states: Mapping[str, Callable[[], EngineState]]) -> None:
        self._registry = CollectorRegistry()
        self._gauges: dict[str, Gauge] = {}
        self._prompt = self._counter("prompt_tokens", "Tokens of prompts.")
        self._generated = self._counter("generation_tokens", "Tokens of answers.")
        self._success = self._counter("request_success", "Answers.", "finished_reason")
        self._cancelled = self._counter("request_cancelled", "Clients that went away.")
        self._errors = self._counter(
            "request_error", "Requests refused or failed.", "path", "status", model=False
        )
        self._rejected = self._counter("media_rejected", "Media refused.", "reason", model=False)
        self._unknown = self._counter("request_unknown_fields", "Fields nobody knows.", model=False)
        self._first = self._histogram("time_to_first_token_seconds", _FIRST_TOKEN)
        self._between = self._histogram("inter_token_latency_seconds", _BETWEEN)
        self._whole = self._histogram("e2e_request_latency_seconds", _WHOLE)
        self._waited = self._histogram("request_queue_time_seconds", _WHOLE)
        self._prepared = self._histogram("request_prepare_seconds", _FIRST_TOKEN)
        self._decoded = self._histogram("media_decode_seconds", _FIRST_TOKEN, "modality")
        for model, state in states.items():
            self._watch(model, state)
        self._registry.register(_Counts(states))

    def text(self) -> bytes:
        """Return all numbers as Prometheus reads them."""
        return generate_latest(self._registry)

    def done(self, model: str, completion: Completion) -> None:
        """Count a request that was answered."""
        usage, timing = completion.usage, completion.timing
        self._prompt.labels(model).inc(usage.prompt_tokens)
        self._generated.labels(model).inc(usage.answer_tokens)
        self._first.labels(model).observe(timing.first_token_s)
        self._whole.labels(model).observe(timing.done_s)
        self._waited.labels(model).observe(timing.started_s)
        later = usage.answer_tokens - len(completion.answers)
        if later > 0:
            seconds = (timing.done_s - timing.first_token_s) * len(completion.answers) / later
            self._between.labels(model).observe(seconds)
        for answer in completion.answers:
            self._success.labels(model, answer.reason.value).inc()

    def prepared(self, model: str, seconds: float) -> None:
        """Note how long a prompt took to make, media included."""
        self._prepared.labels(model).observe(seconds)

    def decoded(self, modality: str, seconds: float) -> None:
        """Note how long a medium took to open or to decode, whatever came of it."""
        self._decoded.labels(modality).observe(seconds)

    def cancelled(self, model: str) -> None:
        """Count a client that went away."""
        self._cancelled.labels(model).inc()

    def failed(self, path: str, error: ApiError) -> None:
        """Count a request that was refused or failed."""
        self._errors.labels(path, str(error.status)).inc()
        if (error.code or "").startswith(("media_", "bad_media", "too_many_media")):
            self._rejected.labels(error.code).inc()

    def unknown_fields(self, names: Iterable[str]) -> None:
        """Count fields that nobody knows."""
        self._unknown.inc(len(list(names)))

    def _counter(self, name: str, text: str, *labels: str, model: bool = True) -> Counter:
        names = ("model_name", *labels) if model else labels
        return Counter(f"hocket:{name}", text, names, registry=self._registry)

    def _histogram(
        self, name: str, buckets: tuple[float, ...], label: str = "model_name"
    ) -> Histogram:
        text = name.replace("_", " ")
        return Histogram(f"hocket:{name}", text, (label,), buckets=buckets, registry=self._registry)

    def _watch(self, model: str, state: Callable[[], EngineState]) -> None:
        gauges: dict[str, Callable[[EngineState], float]] = {
            "num_requests_running": lambda now: now.running + now.prefilling,
            "num_requests_waiting": lambda now: now.waiting,
            "kv_cache_bytes": lambda now: now.kv_bytes,
            "kv_cache_usage_perc": lambda now: now.kv_bytes / now.kv_limit,
            "prefix_cache_bytes": lambda now: now.prefix_bytes,
            "mm_cache_bytes": lambda now: now.encoder_bytes,
        }
        for name, value in gauges.items():
            self._gauge(name).labels(model).set_function(partial(_ask, value, state))

    def _gauge(self, name: str) -> Gauge:
        known = self._gauges.get(name)
        if known is None:
            text = name.replace("_", " ")
            known = Gauge(f"hocket:{name}", text, ("model_name",), registry=self._registry)
            self._gauges[name] = known
        return known


class _Counts(Collector):
    """What the engines count themselves, asked for when somebody reads the numbers."""

    _VALUES: ClassVar[dict[str, Callable[[EngineState], float]]] = {
        "prefix_cache_hits": lambda now: now.prefix_hits,
        "prefix_cache_queries": lambda now: now.prefix_hits + now.prefix_misses,
        "mm_cache_hits": lambda now: now.encoder_hits,
        "mm_cache_queries": lambda now: now.encoder_hits + now.encoder_misses,
        "num_preemptions": lambda now: now.preempted,
        "engine_steps": lambda now: now.steps,
    }

    def __init__(self, states: Mapping[str, Callable[[], EngineState]]) -> None:
        self._states = states

    def collect(self) -> Iterator[Metric]:
        """Yield all counts."""
        now = {model: state() for model, state in self._states.items()}
        for name, value in self._VALUES.items():
            made = CounterMetricFamily(f"hocket:{name}", name.replace("_", " "), labels=_LABELS)
            for model, state in now.items():
                made.add_metric([model], value(state))
            yield made


def _ask(value: Callable[[EngineState], float], state: Callable[[], EngineState]) -> float:
    return value(state())
