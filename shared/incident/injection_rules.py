"""Texts that try to take over the model that reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shared.incident.exfiltration import exfiltrations
from shared.incident.hidden_text import hides_text
from shared.incident.secret_rules import Finding
from shared.incident.texts import may_hold
from shared.incident.tool_reach import ToolReach

_HEAD = 200
_AROUND = 120

_RULES_OF = (
    r"(?:(?:all|any|every|the|your|my|of|these|those|this|whatever|other|previous|prior|above"
    r"|earlier|preceding|existing|original"
    r"|initial|system|safety|content|foregoing|former|past|and)\s{1,3}){0,6}"
)
_INSTRUCTIONS = (
    r"(?:instructions?|prompts?|rules|directions|directives|guidelines|guardrails|orders|programming"
    r"|restrictions|constraints)\b"
)
_PAST = (
    r"(?:previous|prior|above|earlier|preceding|existing|original|initial|system|safety|foregoing|former|your|all|past)"
)


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    message: str
    pattern: re.Pattern[str]
    needles: tuple[str, ...]


_NEEDLES: Final = {
    "override": (
        *("ignore", "disregard", "forget", "override", "bypass", "discard", "neglect", "follow", "your", "directive"),
        "instruction",
    ),
    "reveal": ("prompt", "instruction", "message", "rules", "guidelines", "above"),
    "jailbreak": ("you are", "mode", "anything now", "no ", "without"),
    "tool-spoofing": ("<", "[", "#", "human:", "assistant:", "system:", "tool_"),
    "covert-order": (
        *("tell", "inform", "mention", "alert", "notify", "reveal", "ai", "llm", "language model", "assistant"),
        *("chatbot", "agent", "noticing", "knowing"),
    ),
}
"""Without one of these, in small letters, a rule cannot fire."""


def _rule(name: str, message: str, pattern: str) -> _Rule:
    return _Rule(name, message, re.compile(pattern, re.IGNORECASE), _NEEDLES[name])


RULES: Final = (
    _rule("override", "The text tells the model to drop its instructions.",
          r"\b(?:ignore|disregard|forget|override|bypass|discard|neglect|do not follow"
          r"|don't follow|stop following)\s{1,3}"
          rf"(?={_RULES_OF}{_PAST}){_RULES_OF}(?:\w{{1,20}}\s{{1,3}})?{_INSTRUCTIONS}"
          r"|\b(?:ignore|disregard|forget)\s{1,3}(?:everything|anything|all"
          r"|what)\s{1,3}(?:that\s{1,3})?(?:(?:you\s{1,3}(?:were|have been|are)\s{1,3}|i\s{1,3}"
          r"|they\s{1,3})?(?:told|said|instructed|read|asked)|above|before|previously|written)\b"
          r"|\byour\s{1,3}(?:new|real|actual|true)\s{1,3}(?:instructions|task|orders|objective"
          r"|goal|purpose)\s{1,3}(?:are|is|will be)\b"
          r"|\b(?:new|updated|urgent)\s{1,3}(?:system\s{1,3})?(?:instructions?|directives?)\s{0,2}:\s"),
    _rule("reveal", "The text asks for the model's own instructions.",
          r"\b(?:reveal|print|show|repeat|output|leak|disclose|display|dump|tell|give|recite|quote"
          r"|return|share|expose)\s{1,3}(?:me\s{1,3}|us\s{1,3}|back\s{1,3}|out\s{1,3}"
          r"|verbatim\s{1,3}){0,3}"
          r"(?:(?:all|the|your|full|entire|exact|complete|original|hidden|initial|secret|internal"
          r"|whole|verbatim|contents?|text|of|words?|above)\s{1,3}){0,6}(?:your\s{1,3}(?:\w{1,12}"
          r"\s{1,3})?(?:system|initial|hidden|original|internal|secret)\s{1,3}(?:prompt"
          r"|instructions?|message|rules|guidelines)"
          r"|(?:system|hidden|initial|secret|internal|developer)\s{1,3}(?:prompt|instructions?"
          r"|message))\b|\b(?:your|the)\s{1,3}(?:system prompt|hidden instructions"
          r"|initial instructions)\s{1,3}(?:verbatim|word for word)"
          r"|\brepeat\s{1,3}(?:everything|the (?:text|words))\s{1,3}above\b"),
    _rule("jailbreak", "The text tells the model to act as one without limits.",
          r"\byou are (?:now )?(?:going to (?:be|act as) )?(?:DAN\b|an? (?:unrestricted|unfiltered"
          r"|uncensored|jailbroken|evil)\b|in (?:developer|god|debug|dan|jailbreak"
          r"|unrestricted) mode)"
          r"|\b(?:developer|god|dan|jailbreak|unrestricted) mode (?:is )?(?:now )?(?:enabled"
          r"|activated|on\b)|\b(?:enter|enable|activate|switch to) (?:developer|god|dan|jailbreak"
          r"|unrestricted) mode\b|\bdo anything now\b"
          r"|\b(?:pretend|act as if|imagine) (?:that )?(?:you|there) (?:have|are|were"
          r"|had) no (?:restrictions|rules|limits|filters|guidelines|ethical|safety)"
          r"|\bwithout (?:any )?(?:ethical|moral|safety|content) (?:restrictions|filters?"
          r"|guidelines|limits|policies)\b"),
    _rule("tool-spoofing", "The text holds what looks like a turn, a tool call or its result.",
          r"</?(?:antml:)?(?:function_calls|invoke|tool_use|tool_result|function_results"
          r"|tool_call)\b[^>\n]{0,100}>|<\|(?:im_start|im_end|system|assistant|eot_id"
          r"|start_header_id|endoftext)\|>"
          r"|\[/?(?:INST|SYSTEM)\]\s|<</?SYS>>|(?:^|\n)\s{0,3}(?:Human|Assistant"
          r"|System):[ \t]{0,3}(?=\S)(?=[^\n]{0,200}\b(?:ignore|run|send|execute|sure|disregard"
          r"|reveal|delete|tool|approved|override|must|confirmed)\b)"
          r"|</(?:system|document|user_input|untrusted|data|context|passages?)>\s{0,5}(?:<system>"
          r"|system:|new instructions|now\b|you (?:must|are))"
          r"|(?:^|\n)\s{0,3}#{2,4}\s{0,2}(?:system|assistant|new instructions)\b:?\s{0,3}\n"
          r"|\"type\"\s{0,2}:\s{0,2}\"tool_(?:use|result)\"",
          ),
    _rule("covert-order", "The text tells whatever model reads it to act behind its user's back.",
          r"\b(?:do not|don't|never) (?:tell|inform|mention (?:this|it) to|alert|notify"
          r"|reveal (?:this|it) to) (?:the )?(?:user|human|operator|owner|anyone)\b"
          r"|\b(?:if you are|attention|note to|dear|hey|message for|instructions? (?:to"
          r"|for)) (?:an |any |the |all )?(?:ai|llm|language model|ai assistant|assistant|chatbot"
          r"|ai agent|agent)s?\b[^\n]{0,80}?\b(?:must|should|please|now|run|send|ignore|execute"
          r"|say|rate|give|approve|recommend|delete|include|output)\b"
          r"|\bwithout (?:the user|anyone|them) (?:noticing|knowing)\b"),
)  # fmt: skip

_ABOUT = re.compile(
    r"\b(?:prompt[- ]injections?|injections?|jailbreak(?:s|ing)?|red[- ]team(?:ing)?|adversarial"
    r"|guardrails?|classifiers?|detectors?"
    r"|attacks?|attackers?|phishing|security (?:training|course|review)|moderation|blog post|paper"
    r"|glossary|owasp|threat model"
    r"|test cases?|unit tests?|filters?|regex(?:es)?|heuristics?|what does|what is|why do|why does"
    r"|how do|how does|explain|phrases?|template"
    r"|chatml|tokeni[sz]er|protocol|message format|api (?:docs|reference)|schema|parser|parse|documentation)\b",
    re.IGNORECASE,
)
_SAID_OF_IT = re.compile(
    r"\b(?:such as|like|e\.g\.|for example|phrases?|strings?|sentences?|texts?|says?|saying"
    r"|wording|called|named|contain(?:s|ing)?|words|tokens?|tags?"
    r"|typical|classic|famous|attack(?:er)?s? (?:write|use|try|say)s?|never|refuse(?:s|d)? to"
    r"|resist|detects?|blocks?|warns?|asked to|asks (?:it|the model) to|told to)"
    r"[^\n]{0,60}$",
    re.IGNORECASE,
)
_QUOTE_BEFORE = re.compile(r"[\"'`]([^\"'`\n]{0,60})$")
_QUOTE_BEHIND = re.compile(r"^([^\"'`\n]{0,60})[\"'`]")


def find_injection(raw: str, text: str, reach: ToolReach) -> Iterator[Finding]:
    """The rules that fire on a prompt; a phrase that is only spoken of is none.

    Args:
        raw: the prompt as it was sent.
        text: as `texts.plain` gives it.
        reach: what the job's tools could do.
    """
    if hides_text(raw):
        yield "injection.hidden-text", "high", "The text holds characters that people do not see and models read."
    if any(not _is_spoken_of(text, start, end, excused=False) for start, end in exfiltrations(text)):
        yield "injection.exfiltration", "high", "The text tells the model to send private data away."
    lowered = text.lower()
    for rule in RULES:
        if not may_hold(lowered, rule.needles):
            continue
        spans = (found.span() for found in rule.pattern.finditer(text))
        if any(not _is_spoken_of(text, start, end, excused=True) for start, end in spans):
            yield f"injection.{rule.name}", "high" if reach.can_act else "medium", rule.message


def _is_spoken_of(text: str, start: int, end: int, *, excused: bool) -> bool:
    """Whether the phrase is quoted in a sentence about it, or the prompt begins by saying that it is about such.

    Whoever writes a document that is quoted in a prompt does not write the prompt's beginning: that alone excuses.
    """
    head = text[: min(_HEAD, start)]
    before, behind = text[max(0, start - _AROUND) : start], text[end : end + _AROUND]
    is_quoted = bool(_QUOTE_BEFORE.search(before) and _QUOTE_BEHIND.search(behind))
    is_about = _ABOUT.search(head) is not None
    if is_quoted and (
        is_about or _SAID_OF_IT.search(before.rpartition("\n")[2]) or _ABOUT.search(behind.partition("\n")[0])
    ):
        return True
    if not excused:
        return is_about and "\n" not in text[:start].strip()[:_HEAD] and _SAID_OF_IT.search(before) is not None
    return is_about and (start <= _HEAD or _SAID_OF_IT.search(before.rpartition("\n")[2]) is not None)
