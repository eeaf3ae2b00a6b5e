"""How many one-item jobs a second a mesh takes from its first submit to its last end: prints jobs and seconds.

`python -m tests.containers.throughput localhost:9094 500`
"""

from __future__ import annotations

import sys
import time

from tests.containers.plain_client import PlainClient

_LONGEST_SECONDS = 600.0
_WARM_UP = 20


def main(bootstrap: str, jobs: int) -> None:
    """Publish them all, wait for their ends."""
    client = PlainClient(bootstrap)
    root = {"workload": "python", "items": [4], "options": {"function": "math:sqrt"}}
    client.wait_for_ends(client.publish(*[root] * _WARM_UP), seconds=_LONGEST_SECONDS)
    began = time.monotonic()
    client.wait_for_ends(client.publish(*[root] * jobs), seconds=_LONGEST_SECONDS)
    seconds = time.monotonic() - began
    client.close()
    sys.stdout.write(f"{jobs} jobs in {seconds:.1f} s: {jobs / seconds:.1f} jobs/s\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
