"""Commands and orders that destroy: what they are aimed at, and whether the job's tools could carry them out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shared.incident.deletions import deletion_targets
from shared.incident.intent import is_discussed
from shared.incident.secret_rules import Finding
from shared.incident.texts import may_hold
from shared.incident.tool_reach import ToolReach
from shared.incident.verdict import ORDER, Severity

_WITHOUT_TOOLS: Final = "; no tool of the job could do it"


@dataclass(frozen=True, slots=True)
class _Rule:
    """`severity` is for a job whose shell may start one of `programs`; no programs: any shell may."""

    name: str
    severity: Severity
    message: str
    pattern: re.Pattern[str]
    needles: tuple[str, ...]
    programs: frozenset[str]


_NEEDLES: Final = {
    "raw-disk": ("/dev/", "mkfs", "format", "diskpart"),
    "fork-bomb": (":", "%0"),
    "open-permissions": ("chmod", "chown", "chgrp"),
    "drop-data": ("drop", "truncate", "delete", "flush"),
    "force-push": ("push",),
    "cluster-delete": ("kubectl", "helm"),
    "infrastructure-delete": (
        *("terraform", "tofu", "terragrunt", "cdk", "pulumi", "aws", "gcloud", "az", "gsutil", "docker", "zpool"),
    ),
    "shutdown": ("shutdown", "systemctl", "sudo", "init", "kill", "reboot", "power off", "shut down", "halt"),
    "remote-script": ("curl", "wget", "iex", "invoke-expression", "iwr", "irm"),
    "unprotect": ("iptables", "ufw", "setenforce", "crontab", "userdel", "history", "set-mppreference"),
    "wipe": (
        *("delete", "erase", "wipe", "purge", "destroy", "nuke", "remove", "format", "obliterate", "terminate", "drop"),
    ),
}
"""Without one of these, in small letters, a rule cannot fire."""


def _rule(name: str, severity: Severity, message: str, pattern: str, programs: str = "") -> _Rule:
    return _Rule(
        name, severity, message, re.compile(pattern, re.IGNORECASE), _NEEDLES[name], frozenset(programs.split())
    )


_THINGS = (
    r"(?:(?:database|db|customer|user|production|prod|system|disk|cloud|s3|data|home|old|live"
    r"|entire|whole|main|all|existing|"
    r"nightly|\w{1,20}'s)\s{1,2}){0,4}"
    r"(?:databases?|disks?|drives?|partitions?|volumes?|buckets?|servers?|namespaces?|clusters?|backups?|snapshots?"
    r"|customer (?:data|records|accounts)|user (?:data|records|accounts)|customers|file ?systems?"
    r"|home (?:director(?:y|ies)|folders?)"
    r"|production(?: data| environment)?|prod|audit logs?|system files|machines?|vms?)\b"
)
_EVERYTHING_THERE = (
    r"(?:everything|all (?:the )?(?:files|data))\s{1,2}(?:on|in|under|from|inside)\s{1,2}(?:the|this|our|my|every|/)"
)

RULES: Final = (
    _rule("raw-disk", "critical", "An order to overwrite or format a disk",
          r"\b(?:mkfs(?:\.\w{2,6})?|wipefs|shred|blkdiscard)\s[^\n]{0,80}/dev/\w"
          r"|\bdd\b[^\n]{0,120}\bof=/dev/(?:sd|hd|nvme|vd|xvd|disk|mapper|mmcblk)"
          r"|>\s{0,2}/dev/(?:sd|hd|nvme|vd|xvd|disk)\w|\bformat\s{1,3}[c-z]:"
          r"|\bdiskpart\b[^\n]{0,60}\bclean\b|\bmkfs(?:\.\w{2,6})?\s{1,3}on\b",
          "mkfs mkfs.ext4 mkfs.xfs mkfs.btrfs wipefs shred blkdiscard dd cat format diskpart"),
    _rule("fork-bomb", "critical", "An order to run a fork bomb",
          r":\s{0,2}\(\s{0,2}\)\s{0,2}\{\s{0,2}:\s{0,2}\|\s{0,2}:\s{0,2}&\s{0,2}\}\s{0,2};\s{0,2}:"
          r"|%0\s{0,2}\|\s{0,2}%0"),
    _rule("open-permissions", "critical", "An order to change the permissions of a whole system",
          r"\bch(?:mod|own|grp)\s{1,3}(?=[^\n]{0,60}(?:-\w{0,5}R|--recursive))[^\n;"
          r"|&]{0,80}?\s[\"']?(?:/|/\*|/(?:etc|usr|bin|lib|var|home|boot|root)/?\*?|~/?"
          r"|\$HOME)[\"'`]?(?=[\s;,.)`]|$)",
          "chmod chown chgrp"),
    _rule("drop-data", "high", "An order to drop or empty tables or databases",
          r"\bdrop\s{1,3}(?:the\s{1,2}|our\s{1,2}|this\s{1,2}|all\s{1,2}"
          r"|every\s{1,2})?(?:\w{1,30}\s{1,2}){0,2}?(?:database|schema|table|keyspace|collection"
          r"|tablespace)s?\b(?!-)"
          r"|\bdropdb\s{1,3}\w|\btruncate\s{1,3}(?:the\s{1,2})?(?:\w{1,30}\s{1,2}){0,2}?tables?\b"
          r"|\bdelete\s{1,3}from\s{1,3}[\w.\"`]{1,60}\s{0,2}(?:;|$|[\"'`])"
          r"|\.dropDatabase\(|\bflush(?:all|db)\b",
          "psql mysql mariadb sqlite3 mongo mongosh cqlsh redis-cli dropdb sqlcmd clickhouse-client rails php"),
    _rule("force-push", "high", "An order to overwrite a shared branch",
          r"\bgit\s{1,3}push\b(?=[^\n;|&]{0,100}(?:\s--force(?:-with-lease)?\b|\s-\w{0,3}f\b"
          r"|\s\+\w))[^\n;|&]{0,100}\b(?:main|master|trunk|release[\w/.-]{0,30}|production)\b"
          r"|\bforce[- ]push(?:es|ing)?\b[^\n.;]{0,60}\b(?:main|master|trunk|release|production)\b"
          r"|\bgit\s{1,3}push\b[^\n;|&]{0,60}\s--(?:mirror|delete\s{1,3}\w{1,30}\s{1,3}(?:main"
          r"|master))\b",
          "git"),
    _rule("cluster-delete", "high", "An order to delete parts of a cluster",
          r"\bkubectl\b[^\n;|&]{0,60}\bdelete\s{1,3}(?:ns|namespaces?|nodes?|pv|pvc|crds?|all"
          r"|[a-z,]{1,40}\s{1,3}--all)\b"
          r"|\bkubectl\b[^\n;|&]{0,60}\bdelete\b[^\n;|&]{0,80}\s(?:--all|-A)\b"
          r"|\bhelm\s{1,3}(?:uninstall|delete)\s{1,3}\w|\bkubectl\s{1,3}drain\b[^\n]{0,60}--force",
          "kubectl helm k"),
    _rule("infrastructure-delete", "high", "An order to delete infrastructure",
          r"\b(?:terraform|tofu|terragrunt|cdk|pulumi|cdktf)\b"
          r"(?:\s{1,3}-[\w=./-]{1,40}){0,3}\s{1,3}(?:run-all\s{1,3})?destroy\b"
          r"|\bterraform\s{1,3}apply\b[^\n]{0,60}-destroy\b"
          r"|\baws\b[^\n;|&]{0,80}\b(?:terminate-instances|delete-(?:db-instance|db-cluster|bucket"
          r"|stack|table|cluster|volume|snapshot))\b"
          r"|\baws\s{1,3}s3\s{1,3}(?:rb\b[^\n;|&]{0,80}--force|rm\b[^\n;|&]{0,80}--recursive)"
          r"|\bgcloud\b[^\n;|&]{0,60}\b(?:projects|instances|clusters|databases)\b[^\n;"
          r"|&]{0,20}\sdelete\b|\baz\s{1,3}(?:group|vm|sql\s\w{2,8})\s{1,3}delete\b"
          r"|\bgsutil\b[^\n;|&]{0,30}\srm\s{1,3}-\w{0,3}r|\bdocker\s{1,3}(?:system"
          r"|volume)\s{1,3}prune\b[^\n;|&]{0,40}(?:--volumes|-a|--all)\b|\bzpool\s{1,3}destroy\b",
          "terraform tofu terragrunt cdk pulumi cdktf aws gcloud az gsutil docker zpool"),
    _rule("shutdown", "high", "An order to stop a machine or all of its processes",
          r"\bshutdown\s{1,3}(?:-[hrP]|now|/[srp]\b|\+\d)|\b(?:systemctl|sudo"
          r"|init)\s{1,3}(?:poweroff|reboot|halt|shutdown|0\b|6\b)|\bkill\s{1,3}-(?:9"
          r"|kill)\s{1,3}-1\b"
          r"|\b(?:reboot|power off|shut down|halt)\s{1,3}(?:(?:the|this|every"
          r"|all)\s{1,2})(?:\w{1,20}\s{1,2}){0,3}?(?:servers?|machines?|hosts?|nodes?|computers?"
          r"|boxes|database|cluster)\b",
          "shutdown systemctl reboot poweroff halt init kill"),
    _rule("remote-script", "high", "An order to run a script straight from the network",
          r"\b(?:curl|wget)\b[^\n|]{1,250}\|\s{0,3}(?:sudo\s{1,3}(?:-\w{1,3}\s{1,3})?)?(?:/bin/"
          r"|/usr/bin/env\s{1,2})?(?:ba|z|da|k)?sh\b|\b(?:curl|wget)\b[^\n"
          r"|]{1,250}\|\s{0,3}(?:sudo\s{1,3})?(?:python3?|perl|ruby|node)\b"
          r"|\b(?:ba|z)?sh\s{1,3}(?:-c\s{1,3}[\"']?\$\(|<\(\s{0,2})(?:curl|wget)\b|\b(?:iex"
          r"|invoke-expression)\b[^\n]{0,40}\b(?:iwr|irm|downloadstring|invoke-webrequest)"
          r"|\b(?:iwr|irm)\b[^\n|]{1,200}\|\s{0,3}iex\b",
          "curl wget"),
    _rule("unprotect", "high", "An order to remove the protection of a machine",
          r"\biptables\s{1,3}-F\b|\bufw\s{1,3}disable\b|\bsetenforce\s{1,3}0\b"
          r"|\bcrontab\s{1,3}-r\b|\buserdel\s{1,3}-\w{0,2}r|\bhistory\s{1,3}-c\b[^\n]{0,40}\brm\b"
          r"|\bset-mppreference\b[^\n]{0,60}disable",
          "iptables ufw setenforce crontab userdel"),
    _rule("wipe", "high", "An order to delete data, machines or backups as a whole",
          r"\b(?:delete|erase|wipe|purge|destroy|nuke|remove|format|obliterate|terminate"
          r"|drop)\s{1,3}(?:out\s{1,2})?(?:(?:all|every|each|the|our|their|this"
          r"|any)\s{1,2}(?:of\s{1,2})?){1,3}"
          + _THINGS
          + r"|\b(?:delete|erase|wipe|purge|destroy|nuke|remove)\s{1,3}" + _EVERYTHING_THERE
          + r"|\b(?:wipe|nuke|erase|format)\s{1,3}" + _THINGS),
)  # fmt: skip


def find_destruction(text: str, reach: ToolReach) -> Iterator[Finding]:
    """The rules that fire on a prompt; a command that is only spoken of is none.

    Args:
        text: as `texts.plain` gives it.
        reach: what the job's tools could do.
    """
    lowered = text.lower()
    for rule in RULES:
        if may_hold(lowered, rule.needles) and any(
            not is_discussed(text, found.start(), found.end()) for found in rule.pattern.finditer(text)
        ):
            yield _finding(rule.name, rule.severity, rule.message, can_do=_can_do(reach, rule.programs))
    can_delete = reach.can_run(_DELETERS)
    worst: Severity | None = None
    for start, end, severity in deletion_targets(text):
        if (worst is None or ORDER[severity] > ORDER[worst]) and not is_discussed(text, start, end):
            worst = severity
    if worst is not None:
        yield _finding("delete-tree", worst, "An order to delete a whole tree of files", can_do=can_delete)


_DELETERS: Final = frozenset({"rm", "find", "rd", "rmdir", "del", "shred", "unlink", "mv"})


def _can_do(reach: ToolReach, programs: frozenset[str]) -> bool:
    return reach.can_run(programs) if programs else reach.has_any_shell or reach.has_interpreter


def _finding(name: str, severity: Severity, message: str, *, can_do: bool) -> Finding:
    if can_do:
        return f"destructive.{name}", severity, f"{message}."
    return f"destructive.{name}", "medium", f"{message}{_WITHOUT_TOOLS}."
