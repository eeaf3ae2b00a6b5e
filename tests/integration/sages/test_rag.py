"""`mesh index` and the sage rag on a real broker: what is indexed is quoted, what is gone is not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.sages.rag import RagSage
from shared.documents import UnreadableDocumentError, decode_document
from shared.kafka.clients import make_producer
from shared.kafka.topics import SAGES_DOCUMENTS
from shared.settings import Settings
from tests.fresh_topics import AnyBroker, fresh_topics
from tests.hostile_batches import broken_compression, publish_batch
from tests.integration.sages.command_lines import mesh
from tests.integration.sages.played_sages import question
from tests.plain_permissions import plain_permissions
from tests.unit.cli.command_line import Ran, run_here
from tests.waiting import wait_until
from tests.whole_topic import read_topic

DEPLOY = "# Deploy\n\nRoll the release out with the canary switch.\n"
ROLLBACK = "# Rollback\n\nTurn the canary switch off.\n"


@pytest.fixture
async def settings(embedded_broker: str, tmp_path: Path) -> AsyncIterator[Settings]:
    """Topics of this test."""
    async with fresh_topics(embedded_broker, "embedded", data_dir=tmp_path / "data") as settings:
        yield settings


@pytest.fixture
def handbook(tmp_path: Path) -> Path:
    """A directory of two pages."""
    handbook = tmp_path / "handbook"
    handbook.mkdir()
    (handbook / "deploy.md").write_text(DEPLOY)
    (handbook / "rollback.md").write_text(ROLLBACK)
    return handbook


@asynccontextmanager
async def rag_sage(settings: Settings) -> AsyncIterator[RagSage]:
    """The sage, caught up."""
    sage = RagSage()
    assert sage.is_warming
    assert await sage.advise(question("canary")) == {"passages": []}
    await sage.start(settings)
    try:
        await wait_until(lambda: not sage.is_warming, description="the sage rag has caught up")
        yield sage
    finally:
        await sage.close()


async def cited(sage: RagSage, prompt: str, **fields: Any) -> list[str]:
    """The places that it quotes to a prompt."""
    passages: Any = (await sage.advise(question({"prompt": prompt}, **fields)))["passages"]
    return [each["citation"] for each in passages]


async def test_what_is_indexed_is_quoted(any_broker: AnyBroker, handbook: Path, tmp_path: Path) -> None:
    """A sage that runs learns of it, on each broker; two prompts that differ in one word get different passages."""
    async with (
        fresh_topics(any_broker.bootstrap, any_broker.profile, data_dir=tmp_path / "data") as settings,
        rag_sage(settings) as sage,
    ):
        assert await cited(sage, "How do I deploy with the canary switch?") == []
        ran = await mesh(settings, "index", str(handbook), "--json")
        answer = ran.answer("mesh-index")
        await wait_until(
            lambda: cited(sage, "How do I deploy with the canary switch?"), description="the handbook is quoted"
        )

        both = await sage.advise(question("How do I deploy with the canary switch?"))
        other = await cited(sage, "How do I rollback with the canary switch?")

    assert (answer["files_total"], answer["files_changed"], answer["passages_total"]) == (2, 2, 2)
    assert answer["collection"] == str(handbook)
    passages: Any = both["passages"]
    assert [each["citation"] for each in passages] == ["handbook/deploy.md:1-3", "handbook/rollback.md:1-3"]
    assert passages[0] == {
        "text": DEPLOY.strip(),
        "source": "handbook/deploy.md",
        "title": "Deploy",
        "score": passages[0]["score"],
        "citation": "handbook/deploy.md:1-3",
    }
    assert passages[0]["score"] > passages[1]["score"] > 0
    assert other == ["handbook/rollback.md:1-3", "handbook/deploy.md:1-3"]


async def test_only_what_differs_is_sent(settings: Settings, handbook: Path) -> None:
    """The topic decides what is new; a changed file replaces itself, a deleted one is no more."""
    first = (await mesh(settings, "index", str(handbook), "--json")).answer("mesh-index")
    again = (await mesh(settings, "index", str(handbook), "--json")).answer("mesh-index")
    assert len(await read_topic(settings, SAGES_DOCUMENTS)) == 2
    async with rag_sage(settings) as sage:
        (handbook / "deploy.md").write_text("# Deploy\n\nPress the green button.\n")
        (handbook / "rollback.md").unlink()
        third = (await mesh(settings, "index", str(handbook), "--json")).answer("mesh-index")
        await wait_until(lambda: cited(sage, "who may press the green button"), description="the new text is quoted")
        await wait_until(lambda: _is_silent(sage, "canary switch"), description="the old texts are forgotten")

    counts = ("files_total", "files_changed", "files_removed", "passages_total")
    assert [first[name] for name in counts] == [2, 2, 0, 2]
    assert [again[name] for name in counts] == [2, 0, 0, 2]
    assert [third[name] for name in counts] == [1, 1, 1, 1]


async def test_what_cannot_be_read_stays(settings: Settings, handbook: Path) -> None:
    """It is said, with the reason and by the exit status; what else is gone is removed; the next time all is well."""
    team = handbook / "team"
    team.mkdir()
    (team / "oncall.md").write_text("# On call\n\nWho is on call takes the pager.\n")
    await mesh(settings, "index", str(handbook))
    (handbook / "rollback.md").unlink()
    team.chmod(0)

    def unprivileged(*more: str) -> Ran:
        with plain_permissions():
            return run_here(("index", str(handbook), *more), settings.environment(), None)

    told = await asyncio.to_thread(unprivileged)
    ran = await asyncio.to_thread(unprivileged, "--json")
    team.chmod(0o755)
    again = await mesh(settings, "index", str(handbook), "--json")

    assert told.status == 1
    assert "could not be read, Permission denied: handbook/team; what was indexed of it stays" in told.stderr
    assert re.search(r"removed +1\b", told.stdout)
    assert ran.status == 1
    answer = ran.answer("mesh-index")
    assert (answer["files_total"], answer["files_removed"]) == (2, 0)
    assert answer["unreadable"] == [{"reason": "Permission denied", "count": 1, "names": ["handbook/team"]}]
    assert again.answer("mesh-index")["files_changed"] == 0
    assert again.answer("mesh-index")["files_total"] == 2


async def test_collections_globs_and_tenants(settings: Settings, handbook: Path) -> None:
    """What belongs to another name, or does not fit the glob, is left alone."""
    (handbook / "plan.txt").write_text("The merger closes in spring.")
    await mesh(settings, "index", str(handbook), "--glob", "*.md", "--name", "pages")
    await mesh(settings, "index", str(handbook), "--glob", "*.txt", "--name", "plans", "--tenant", "board")
    (handbook / "deploy.md").unlink()
    narrow = await mesh(settings, "index", str(handbook), "--glob", "rollback.*", "--name", "pages", "--json")
    assert narrow.answer("mesh-index")["files_removed"] == 0

    async with rag_sage(settings) as sage:
        assert await cited(sage, "when does the merger close") == []
        assert await cited(sage, "when does the merger close", tenant="board") == ["handbook/plan.txt:1-1"]
        assert len(await cited(sage, "canary switch")) == 2

        removed = (await mesh(settings, "index", str(handbook), "--name", "pages", "--remove", "--json")).answer(
            "mesh-index"
        )
        assert (removed["files_total"], removed["files_removed"]) == (0, 2)
        await wait_until(lambda: _is_silent(sage, "canary switch"), description="the pages are forgotten")
        assert await cited(sage, "when does the merger close", tenant="board") != []


async def _is_silent(sage: RagSage, prompt: str) -> bool:
    return not await cited(sage, prompt)


async def test_a_deleted_file_comes_back_with_the_same_answers(settings: Settings, handbook: Path) -> None:
    """And what is no document is passed over."""
    await mesh(settings, "index", str(handbook))
    await _publish(settings, b"{}")
    prompt = "canary switch of the release"
    async with rag_sage(settings) as sage:
        before = await sage.advise(question(prompt))
    for path in (settings.data_dir / "sages").glob("rag.sqlite*"):
        path.unlink()
    async with rag_sage(settings) as sage:
        assert await sage.advise(question(prompt)) == before
    assert before != {"passages": []}
    with pytest.raises(UnreadableDocumentError):
        decode_document(b"{}")


async def _publish(settings: Settings, value: bytes) -> None:
    producer = make_producer(settings)
    await producer.start()
    try:
        for key in (b"some-document", None):
            await producer.send_and_wait(settings.topic(SAGES_DOCUMENTS), value, key=key, partition=0)
    finally:
        await producer.stop()


async def test_what_people_see(settings: Settings, handbook: Path) -> None:
    """Numbers on standard output, what was skipped on standard error; a wrong path removes nothing."""
    for number in range(7):
        (handbook / f"image{number}.md").write_bytes(b"\0")
    for number in range(30):
        (handbook / f"page{number}.md").write_text(f"# Page {number}\n")
    await _publish(settings, b"{}")  # which is none of the collection

    ran = await mesh(settings, "index", str(handbook))
    gone = await mesh(settings, "index", str(handbook / "nowhere"), "--json")

    assert ran.status == 0
    assert ran.stdout.split()[:8] == ["files", "32", "changed", "32", "removed", "0", "passages", "32"]
    assert "skipped, no UTF-8 text: handbook/image0.md" in ran.stderr
    assert "and 2 more" in ran.stderr
    assert (gone.status, gone.error()["error_type"]) == (4, "not_found")
    removed = await mesh(settings, "index", str(handbook), "--remove")
    assert removed.stdout.split()[4:6] == ["removed", "32"]


async def test_without_topics(settings: Settings, handbook: Path) -> None:
    """A mesh of another prefix is said not to be there; none is made."""
    other = settings.model_copy(update={"topic_prefix": f"other-{settings.topic_prefix}"})
    ran = await mesh(other, "index", str(handbook), "--json")
    assert (ran.status, ran.error()["error_type"]) == (3, "configuration")


async def test_a_record_that_would_be_too_large(settings: Settings, handbook: Path) -> None:
    """A file whose characters take more room in JSON than a record has is skipped."""
    (handbook / "bells.md").write_bytes(b"x\x07" * 200_000)
    answer = (await mesh(settings, "index", str(handbook), "--json")).answer("mesh-index")
    assert (answer["files_total"], answer["files_skipped"]) == (2, 1)


async def test_documents_whose_bytes_cannot_be_read(settings: Settings, handbook: Path) -> None:
    """They are passed over by the sage and by `mesh index`: what is behind them is known, and sent once."""
    for partition in range(settings.partition_count):
        await publish_batch(settings, SAGES_DOCUMENTS, partition, broken_compression([b"{}"] * 3, "zstd"))
    ran = await mesh(settings, "index", str(handbook))
    assert f"{3 * settings.partition_count} records could not be read" in ran.stderr
    async with rag_sage(settings) as sage:
        assert len(await cited(sage, "How do I deploy with the canary switch?")) == 2
    again = (await mesh(settings, "index", str(handbook), "--json")).answer("mesh-index")
    assert again["files_changed"] == 0
