"""A server of its own, for one test or one program."""

from __future__ import annotations

from eldermesh_cli.stack.service import Service


class EmbeddedServer:
    """A server that its creator starts and stops.

    Attributes:
        service: the process.
    """

    service: Service

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            StartFailedError: it does not; nothing of it is left.
        """
        await self.service.bring_up()

    async def stop(self) -> bool:
        """Stop it, and with it all that it started; return whether it had to be killed."""
        return await self.service.shut_down()
