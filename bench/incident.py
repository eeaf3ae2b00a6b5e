"""How well the incident rules tell risky jobs from those that look like them, and how long they take.

The rules were tuned on the first half of the labelled prompts; the second half was only counted. The false alarms are
those of the documentation strings of the standard library, each taken for a prompt of a job with a shell.
"""

from __future__ import annotations

import time

from bench.report import Figure
from shared.incident import judge, load
from tests.incident_prompts import CLASSES, Half, labelled_prompts, scores
from tests.stdlib_docstrings import docstring_documents

_NO_BROKER = "none"
_MS = 1000
_LARGE = 256 * 1024
_HALVES: tuple[tuple[Half, str], ...] = (("tuned_on", "tuned on"), ("reported_on", "reported on"))


def measure_incident() -> list[Figure]:
    """Precision and recall by class and half, false alarms on honest prose, times; in this process."""
    load()
    figures = []
    for half, said in _HALVES:
        measured = scores(half)
        for name in CLASSES:
            score = measured[name]
            of = f"{score.hits + score.missed} risky prompts, {said}"
            figures.append(Figure(f"{name}: precision ({of})", _NO_BROKER, 100 * score.precision, "%"))
            figures.append(Figure(f"{name}: recall ({of})", _NO_BROKER, 100 * score.recall, "%"))
        mine = [prompt for prompt in labelled_prompts() if prompt.half == half]
        right = sum(prompt.verdict().risk == prompt.risk for prompt in mine)
        figures.append(
            Figure(f"risk is as labelled ({len(mine)} prompts, {said})", _NO_BROKER, 100 * right / len(mine), "%")
        )
    return [*figures, *_false_alarms(), *_times()]


def _false_alarms() -> list[Figure]:
    texts = [passage.text for document in docstring_documents() for passage in document.passages]
    held = sum(judge("claude", [text], {"allowed_tools": ["Bash"]}).risk in ("high", "critical") for text in texts)
    name = f"jobs held or rejected of {len(texts):,} documentation strings"
    return [Figure(name, _NO_BROKER, 100 * held / len(texts), "%")]


def _times() -> list[Figure]:
    prompts = labelled_prompts()
    began = time.perf_counter()
    for prompt in prompts:
        prompt.verdict()
    one = _MS * (time.perf_counter() - began) / len(prompts)
    prose = ("The quick brown fox reads the runbook, and writes down what it found in the logs. " * 4000)[:_LARGE]
    began = time.perf_counter()
    judge("claude", [prose], {})
    large = _MS * (time.perf_counter() - began)
    return [
        Figure("  rules on one prompt", _NO_BROKER, one, "ms"),
        Figure("  rules on 256 KiB of prose", _NO_BROKER, large, "ms"),
    ]
