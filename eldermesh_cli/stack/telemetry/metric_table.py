"""The latest value of each metric that was received, as Prometheus text. In memory, bounded."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable

from eldermesh_cli.stack.telemetry.otlp_body import Sample

MAX_SERIES = 20_000
STALE_SECONDS = 300.0
"""A series that nobody has written to for so long is forgotten, as those of a process that is gone."""

_NO_NAME = re.compile(r"[^a-zA-Z0-9_:]")
_UNITS = {"s": "_seconds", "By": "_bytes", "1": "_ratio"}

_Key = tuple[str, str, str, tuple[tuple[str, str], ...]]


class MetricTable:
    """Latest samples by metric, process and labels. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: dict[_Key, tuple[float, Sample]] = {}
        self.refused = 0
        """Samples that found the table full."""

    def update(self, samples: Iterable[Sample]) -> None:
        """Take samples in place of the earlier ones."""
        now = self._clock()
        for sample in samples:
            key = (sample.name, sample.service_name, sample.service_instance, tuple(sorted(sample.labels.items())))
            if key not in self._samples and len(self._samples) >= MAX_SERIES:
                self._forget_stale(now)
                if len(self._samples) >= MAX_SERIES:
                    self.refused += 1
                    continue
            self._samples[key] = (now, sample)

    def prometheus_text(self) -> str:
        """All of it in Prometheus' text format (version 0.0.4)."""
        self._forget_stale(self._clock())
        families: dict[str, list[Sample]] = {}
        for _, sample in self._samples.values():
            families.setdefault(_family(sample), []).append(sample)
        lines: list[str] = []
        for family, samples in sorted(families.items()):
            lines.append(f"# HELP {family} {_escaped(samples[0].meaning)}")
            lines.append(f"# TYPE {family} {samples[0].kind}")
            lines.extend(line for sample in samples for line in _lines(family, sample))
        return "".join(f"{line}\n" for line in lines)

    def _forget_stale(self, now: float) -> None:
        stale = [key for key, (at, _) in self._samples.items() if now - at > STALE_SECONDS]
        for key in stale:
            del self._samples[key]


def _family(sample: Sample) -> str:
    name = _NO_NAME.sub("_", sample.name)
    if name[:1].isdigit():
        name = f"_{name}"
    unit = _UNITS.get(sample.unit, "")
    if sample.unit == "1" and sample.kind == "counter":
        unit = ""
    return f"{name}{'' if name.endswith(unit) else unit}{'_total' if sample.kind == 'counter' else ''}"


def _lines(family: str, sample: Sample) -> Iterable[str]:
    labels = {"job": sample.service_name, "instance": sample.service_instance, **sample.labels}
    for suffix, more, value in sample.values:
        shown = ",".join(f'{_NO_NAME.sub("_", k)}="{_quoted(v)}"' for k, v in [*labels.items(), *more])
        yield f"{family}{suffix}{{{shown}}} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
