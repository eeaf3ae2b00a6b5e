"""A script file: the steps that answer prompts with a certain text and without markers of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import yaml

from services.claude_exec.loopback.markers import MarkerError, read_markers
from services.claude_exec.loopback.steps import Step
from shared.errors import ConfigurationError
from shared.text.regular_file import read_regular_file

MAX_FILE_BYTES = 16 * 1024 * 1024


class Script:
    """Texts and the steps for prompts that contain them; the first text that is in a prompt wins."""

    def __init__(self, rules: Iterable[tuple[str, tuple[Step, ...]]] = ()) -> None:
        self._rules = tuple(rules)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file: an object in YAML or JSON, whose values are texts with markers or lists of such texts.

        Raises:
            ConfigurationError: it is missing or wrong; the message says what is wrong.
        """
        try:
            content = yaml.safe_load(read_regular_file(path, MAX_FILE_BYTES).decode("utf-8-sig"))
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise ConfigurationError(f"the script {path} cannot be read: {error}") from error
        if not isinstance(content, Mapping):
            raise ConfigurationError(f"the script {path} is no object of texts and markers")
        return cls((_key(path, key), _steps(path, key, value)) for key, value in content.items())

    def steps(self, prompt: str) -> tuple[Step, ...]:
        """The steps for a prompt: its own, else those of the first matching rule, else none.

        Raises:
            MarkerError: a marker in the prompt cannot be read.
        """
        return read_markers(prompt) or next((steps for text, steps in self._rules if text in prompt), ())


def _key(path: Path, key: object) -> str:
    if not isinstance(key, str) or not key:
        raise ConfigurationError(f"the script {path}: {key!r} is no text that a prompt could hold")
    return key


def _steps(path: Path, key: str, value: object) -> tuple[Step, ...]:
    texts: Sequence[object] = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise ConfigurationError(f"the script {path}, {key!r}: neither a text nor a list of texts")
    try:
        steps = read_markers("\n".join(map(str, texts)))
    except MarkerError as error:
        raise ConfigurationError(f"the script {path}, {key!r}: {error}") from error
    if not steps:
        raise ConfigurationError(f"the script {path}, {key!r}: no marker in it")
    return steps
