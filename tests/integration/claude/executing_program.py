"""A program for tests of ownership: `python -m tests.integration.claude.executing_program URL DIRECTORY PROMPT`.

It runs one prompt, with Bash allowed, as a worker would, and prints the class of its outcome.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from services.claude_exec.executor import Execution
from services.claude_exec.options import ClaudeOptions
from shared.settings import Settings


async def main(url: str, directory: Path, prompt: str) -> None:
    """Run the prompt."""
    settings = Settings(data_dir=directory, anthropic_base_url=url)
    outcome = await Execution(prompt, ClaudeOptions(allowed_tools=("Bash",)), settings).run()
    sys.stdout.write(f"{outcome.outcome}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
