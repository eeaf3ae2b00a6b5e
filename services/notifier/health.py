"""Whether notifications would be sent; `python -m services.notifier.health` is a container's check.

Exit status 0 if so; else 1, and one line that says what is wrong.
"""

from __future__ import annotations

import sys

from shared.health.container_check import check_health
from shared.health.parts import NOTIFIER

if __name__ == "__main__":
    sys.exit(check_health(NOTIFIER.trouble))
