"""The contents of the rules file: channels by name, and which events go to which of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from jinja2 import TemplateError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from eldermesh.contract.vocabulary import EndStatus, Name
from services.notifier.rules.channels import Channel
from services.notifier.templates.sandbox import check_template

EventKind = Literal["end", "hold", "reminder"]


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _template(value: str) -> str:
    try:
        check_template(value)
    except TemplateError as error:
        raise ValueError(f"the template is wrong: {error}") from None
    return value


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) != len(values):
        raise ValueError("each only once")
    return values


Glob = Annotated[str, Field(min_length=1, max_length=256)]
Globs = Annotated[tuple[Glob, ...], BeforeValidator(_listed), Field(min_length=1, max_length=100)]
TemplateText = Annotated[str, Field(min_length=1, max_length=16_384), AfterValidator(_template)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Match(_Part):
    """Conditions, all of which must hold. Those on status, duration and cost apply to ends only."""

    status: Annotated[tuple[EndStatus, ...], BeforeValidator(_listed), Field(min_length=1)] | None = None
    workload: Globs | None = None
    tenant: Globs | None = None
    labels: Annotated[dict[str, Glob], Field(max_length=32)] = Field(default_factory=dict)
    min_duration_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """From acceptance to end, holds and pauses included."""
    min_cost_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None

    @property
    def asks_of_ends(self) -> bool:
        """Whether it has conditions that only an end can meet."""
        return any(each is not None for each in (self.status, self.min_duration_seconds, self.min_cost_usd))


class Template(_Part):
    """Jinja2 templates in place of the default ones; `html` is for e-mail, which is plain text without it."""

    title: TemplateText | None = None
    body: TemplateText | None = None
    html: TemplateText | None = None


class Rule(_Part):
    """One rule. Its name is part of a message's id: after a rename, redelivered events are sent again."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    on: Annotated[tuple[EventKind, ...], BeforeValidator(_listed), Field(min_length=1), AfterValidator(_distinct)]
    match: Match = Field(default_factory=Match)
    channels: Annotated[
        tuple[Name, ...], BeforeValidator(_listed), Field(min_length=1, max_length=20), AfterValidator(_distinct)
    ]
    template: Template = Field(default_factory=Template)

    @model_validator(mode="after")
    def _asks_what_can_be(self) -> Rule:
        if self.match.asks_of_ends and "end" not in self.on:
            raise ValueError("match asks of ends (status, min_duration_seconds, min_cost_usd), which are not in `on`")
        return self


class Rules(_Part):
    """The whole file. It may be empty: then nothing is sent."""

    channels: Annotated[dict[Name, Channel], Field(max_length=50)] = Field(default_factory=dict)
    rules: Annotated[tuple[Rule, ...], Field(max_length=200)] = ()

    @model_validator(mode="after")
    def _names_fit(self) -> Rules:
        names = [rule.name for rule in self.rules]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"rules: two have the name {repeated[0]!r}")
        for rule in self.rules:
            if unknown := [name for name in rule.channels if name not in self.channels]:
                known = ", ".join(self.channels) or "none"
                raise ValueError(f"rules: {rule.name!r} names the channel {unknown[0]!r}; there are {known}")
        return self
