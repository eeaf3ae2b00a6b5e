"""Whether prompts of `claude.requests` would be run; `python -m services.claude_exec.health` is a container's check.

Exit status 0 if so; else 1, and one line that says what is wrong.
"""

from __future__ import annotations

import sys

from shared.health.container_check import check_health
from shared.health.parts import CLAUDE_EXEC

if __name__ == "__main__":
    sys.exit(check_health(CLAUDE_EXEC.trouble))
