"""The embedded stack's place for telemetry: takes OTLP/HTTP, keeps spans, shows metrics, passes all of it on.

`POST /v1/traces|metrics|logs` (protobuf or JSON; plain, gzip or deflate) · `GET /api/traces/{id}` as Jaeger's query
API · `GET /metrics` as Prometheus text · `GET /healthz`. It listens on the loopback interface only.

As a process of its own: `python -m eldermesh_cli.stack.telemetry.receiver --port N --db PATH`. It forwards to
`MESH_OTLP_ENDPOINT` and `MESH_OTLP_METRICS_ENDPOINT`: as arguments everybody could see their passwords.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from eldermesh_cli.stack.errors import StackError
from eldermesh_cli.stack.servers.free_ports import LOOPBACK
from eldermesh_cli.stack.telemetry.application import otlp_application
from eldermesh_cli.stack.telemetry.forwarder import Forwarder
from eldermesh_cli.stack.telemetry.http_server import LoopbackServer
from eldermesh_cli.stack.telemetry.metric_table import MetricTable
from eldermesh_cli.stack.telemetry.span_store import SpanStore, StoreLimits
from shared.logs.setup import configure_logging, get_logger
from shared.processes.service_process import settings_of_process

DRAIN_SECONDS = 3.0

_LOG = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Destinations:
    """Base addresses to pass on to: `url` takes all signals, but metrics if they have an address of their own."""

    url: str | None = None
    metrics_url: str | None = None

    def by_signal(self) -> dict[str, str]:
        """The address of each signal that is passed on."""
        wanted = {"traces": self.url, "logs": self.url, "metrics": self.metrics_url or self.url}
        return {signal_name: url for signal_name, url in wanted.items() if url}


@contextlib.asynccontextmanager
async def otlp_receiver(
    db_path: Path, *, port: int = 0, forward: Destinations | None = None, limits: StoreLimits | None = None
) -> AsyncIterator[str]:
    """Receive while the context is open; it is entered with the base address. Port 0 takes a free one.

    Raises:
        StackError: the port is taken, or it would forward to itself.
        sqlite3.Error, OSError: the store cannot be opened.
    """
    destinations = (forward or Destinations()).by_signal()
    for signal_name, url in destinations.items():
        if port and _is_local(url, port):
            raise StackError(
                f"the address for {signal_name} is the receiver itself: it would forward to itself for ever"
            )
    async with contextlib.AsyncExitStack() as opened:
        store = await SpanStore.open(db_path, limits)
        opened.push_async_callback(store.close)
        # One for each address: a collector that is away holds up no other.
        forwarders = {url: Forwarder(url) for url in destinations.values()}
        for forwarder in forwarders.values():
            forwarding = asyncio.create_task(forwarder.run())
            opened.push_async_callback(_end, forwarding)
            opened.push_async_callback(forwarder.drain, DRAIN_SECONDS)
        by_signal = {signal_name: forwarders[url] for signal_name, url in destinations.items()}
        server = LoopbackServer(otlp_application(store, MetricTable(), by_signal), port=port)
        yield (await opened.enter_async_context(server)).url


async def serve(db_path: Path, port: int, forward: Destinations, limits: StoreLimits) -> None:
    """Receive until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with otlp_receiver(db_path, port=port, forward=forward, limits=limits) as url:
        hosts = {signal_name: urlsplit(there).hostname for signal_name, there in forward.by_signal().items()}
        _LOG.info("telemetry receiver listens", url=url, forwards_to=hosts)
        await stop.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a process; exit status 3 when it cannot listen."""
    parser = argparse.ArgumentParser(
        prog="eldermesh_cli.stack.telemetry.receiver", description="Receive OTLP/HTTP, keep spans."
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--db", type=Path, required=True)
    usual = StoreLimits()
    parser.add_argument("--max-spans", type=int, default=usual.spans)
    parser.add_argument("--max-bytes", type=int, default=usual.bytes)
    parser.add_argument("--max-days", type=float, default=usual.days)
    given = parser.parse_args(arguments)
    settings = settings_of_process("telemetry")
    configure_logging(settings, "telemetry")
    try:
        limits = StoreLimits(given.max_spans, given.max_bytes, given.max_days)
        forward = Destinations(settings.otlp_endpoint, settings.otlp_metrics_endpoint)
        asyncio.run(serve(given.db, given.port, forward, limits))
    except StackError as error:
        _LOG.error("telemetry receiver cannot run", reason=str(error))
        return 3
    return 0


def _is_local(url: str, port: int) -> bool:
    where = urlsplit(url)
    return where.hostname in {LOOPBACK, "localhost", "::1"} and where.port == port


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})  # not the task itself: a cancellation of ours would be taken for its end


if __name__ == "__main__":
    sys.exit(main())
