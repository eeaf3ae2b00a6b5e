"""Whether a text orders what it names, or speaks about it.

No grammar: the words before and behind a place, within bounds. What is in doubt counts as an order.
"""

from __future__ import annotations

import re
from typing import Final

BEFORE: Final = 200
"""Characters before a place that are looked at."""

BEHIND: Final = 160

_HEAD = 240
_SENTENCE_END = re.compile(r"[.!?;](?:\s|$)|\n")

_NEGATED = re.compile(
    r"\b(?:never|don'?t|do not|does not|doesn'?t|did not|didn'?t|avoid|must not|should not"
    r"|shouldn'?t|cannot|can'?t|without"
    r"|instead of|rather than|prevents?|preventing|refuses?|forbids?|blocks?|blocking|rejects?"
    r"|warns?|against|stop people from"
    r"|mistakenly|accidentally|by accident|by mistake|protect(?:s|ed)? (?:us )?(?:from|against))\b[^.!?\n]{0,80}$",
    re.IGNORECASE,
)
_EXPLAINS = re.compile(
    r"\b(?:explain(?:s|ing)?|what|how|why|when|which|whether|who|does|difference|means?|meaning"
    r"|describe[sd]?|describing"
    r"|discuss(?:es|ing)?|compare|about|examples?|such as|like|e\.g\.|called|named|mentions?"
    r"|dangerous|harmful|risks?|risky"
    r"|safe(?:ly|r)?|unsafe|detect(?:s|ing|ion)?|reviews?|audit|lint|history|ran|typed|executed"
    r"|entered|issued|used to|post-?mortem"
    r"|contains?|regex|regular expression|patterns?|flags?|quiz|joke|story|novel|character|lesson"
    r"|tutorial|docs|documentation"
    r"|runbook|alias(?:es)?|summari[sz]e|translate|classif(?:y|ies)|rate|equivalent|alternatives?"
    r"|syntax|tests? (?:that|for|whether)"
    r"|asserts?|string|literal|grep|search|find (?:all|every|any|each|where|uses)|count"
    r"|occurrences?|instances?|lines? (?:with|that))\b",
    re.IGNORECASE,
)
_EXPLAINS_BEHIND = re.compile(
    r"^[\"'`)\]]{0,3}\s{0,2}(?:does|do|is|are|was|were|works?|means?|would|could|can|actually"
    r"|really|differs?|behaves?|on a|in a"
    r"|vs\.?|versus|has been|had|returns?|fails?|failed|hangs?|hung|took|from (?:a|the"
    r"|our) (?:script|tutorial|code|log|file)"
    r"|appears?|shows? up)\b",
    re.IGNORECASE,
)
_ORDERED_DIRECTLY = re.compile(
    r"(?:(?:^|\b(?:then|now|just|please|and then|go ahead and|immediately|first|finally|next|afterwards|also|to do so"
    r"|in order to|so|and|must|have to|you should|need you to|want you to|i'd like you to|task:"
    r"|step \d{1,2}[.:)]?|your job is to)"
    r"|[,;:>#$])\s{0,3})?"
    r"\b(?:run|runs|running|execute|issue|type|invoke|perform|launch|use|try|call|apply|fire off|enter|do)\b"
    r"[^.!?\n\"'`]{0,50}[\"'`(\s:>$#]{0,8}(?:sudo\s{1,3})?$",
    re.IGNORECASE,
)
_COORDINATED = re.compile(
    r"\b(?:then|now|please|and then|finally|afterwards|next|go ahead and|immediately|first|simply|just|also)[,:]?"
    r"[\s\"'`$>#]{0,6}(?:sudo\s{1,3})?$",
    re.IGNORECASE,
)
_THEN = re.compile(r"\bthen\b", re.IGNORECASE)
_THEN_ORDERED = re.compile(
    r"\b(?:then|afterwards|finally)\s{1,3}(?:please\s{1,3})?(?:run|execute|type|issue|do)[\s:\"'`$]{1,4}(?:sudo\s{1,3})?$",
    re.IGNORECASE,
)
_SUPPOSED = re.compile(
    r"\b(?:if|when|what|why|how|after|before|somebody|someone|he|she|they|i|we|you)\b", re.IGNORECASE
)
_INTRODUCED = re.compile(r":[\s\"'`$>#]{0,6}(?:sudo\s{1,3})?$")
_MARKS = " \t\r\n\"'`$>#*-"
_RUN_IT = re.compile(
    r"\b(?:then|and|now|please)[,]?\s{1,3}(?:actually\s{1,3}|really\s{1,3})?(?:run|execute|apply|perform|do)\s{1,3}"
    r"(?:it|them|this|that|all of (?:it|them)|the (?:command|script|commands|result"
    r"|fix))\b(?!\s{1,3}(?:in your head|mentally))",
    re.IGNORECASE,
)
_NOT_RUN = re.compile(
    r"\b(?:do not|don'?t|never|without|not|no need to)\s{1,3}(?:actually\s{1,3}"
    r"|ever\s{1,3})?(?:run|running|execut\w{1,4})\b",
    re.IGNORECASE,
)
_POLITE = (
    r"^[\s\"'`#*>-]{0,6}(?:(?:please|hi|hello|hey|ok|okay|so|quick question|question)[,:!]?\s{1,3}){0,3}"
    r"(?:(?:can|could|would|will) you (?:please )?|i(?:'d| would) (?:like|want) (?:you )?to "
    r"|help me (?:to )?|let's |i need (?:you )?to )?"
)
_TALKING_HEAD = re.compile(
    _POLITE + r"(?:explain|describe|review|summari[sz]e|translate|document|write|draft|audit|analy[sz]e"
    r"|classify|label|list|compare"
    r"|what|why|how|is|are|was|were|does|do|did|should|could|can|when|where|which|who|tell|give me"
    r"|find|search|grep|rate|proofread"
    r"|rewrite|convert|extract|teach|outline|design|propose|discuss|identify|spot|flag|detect"
    r"|decide|determine|generate|understand"
    r"|refactor|port|improve|add|implement|fix|parse|tokeni[sz]e|score|critique|grade|answer|rank"
    r"|judge|assess|evaluate|prepare (?:a|an|the)"
    r"|create (?:a|an)|make (?:a|an)|suggest|research|in (?:the |this |our )|the following|given"
    r"|here is|here's|below|this)\b",
    re.IGNORECASE,
)
_ASKING_HEAD = re.compile(
    _POLITE + r"(?:explain|describe|review|summari[sz]e|translate|document|audit|analy[sz]e|classify|label"
    r"|compare|what|why|how|is|are"
    r"|does|which|proofread|teach|discuss|rate|critique|grade|tell me (?:what|how|why|about)"
    r"|write (?:a|an|the|docs|documentation)"
    r"|find (?:all|every|each)|list)\b",
    re.IGNORECASE,
)


def is_discussed(text: str, start: int, end: int) -> bool:
    """Whether what stands at `start:end` is explained, quoted, reviewed, warned of, or looked for; not ordered.

    Args:
        text: as `texts.plain` gives it.
        start: where the place begins.
        end: where it ends.
    """
    before = _sentence_before(text, start)
    behind = text[end : end + BEHIND]
    if _NEGATED.search(before):
        return True
    if _RUN_IT.search(behind) and not _NOT_RUN.search(behind):
        return False
    if _THEN_ORDERED.search(before) and not _SUPPOSED.search(before):
        return False
    head = text[:_HEAD]
    asks = _ASKING_HEAD.match(head) is not None
    if _COORDINATED.search(before):
        return asks and start == len(before) and _THEN.search(before) is None
    explains = _EXPLAINS.search(before) is not None or _EXPLAINS_BEHIND.search(behind) is not None
    if explains:
        return True
    if _ORDERED_DIRECTLY.search(before) or _INTRODUCED.search(before):
        return asks
    if not text[:start].strip(_MARKS):
        return False
    return _TALKING_HEAD.match(head) is not None


def _sentence_before(text: str, start: int) -> str:
    """What stands before a place in its sentence, and its line."""
    before = text[max(0, start - BEFORE) : start]
    begin = max((end.end() for end in _SENTENCE_END.finditer(before)), default=0)
    return before[begin:]
