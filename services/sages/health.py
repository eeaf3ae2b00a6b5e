"""Whether the sages would be asked about a job; `python -m services.sages.health` is a container's check.

Exit status 0 if so; else 1, and one line that says what is wrong.
"""

from __future__ import annotations

import sys

from shared.health.heartbeat import heartbeat_status


def main() -> int:
    """Check this container's heartbeat; without one, what all of the mesh do together."""
    status = heartbeat_status()
    if status is not None:
        return status
    # Here and not above: they take seconds, which a look at a heartbeat must not.
    from shared.health.container_check import check_health  # noqa: PLC0415
    from shared.health.parts import SAGES  # noqa: PLC0415

    return check_health(SAGES.trouble)


if __name__ == "__main__":
    sys.exit(main())
