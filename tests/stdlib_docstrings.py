"""The documentation strings of the standard library as documents, and questions to which one of them is the answer."""

from __future__ import annotations

import ast
import json
import sqlite3
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from services.sages.passage_index import SCHEMA_SQL, put, search
from shared.documents import Document, Passage

MODULES = """
    argparse ast asyncio.base_events asyncio.events asyncio.futures asyncio.locks asyncio.queues asyncio.runners
    asyncio.streams asyncio.subprocess asyncio.tasks asyncio.threads asyncio.timeouts asyncio.transports base64 bdb
    bisect bz2 calendar cmd code codecs collections colorsys compileall concurrent.futures._base
    concurrent.futures.process concurrent.futures.thread configparser contextlib copy csv ctypes.util dataclasses
    datetime difflib dis doctest email.charset email.header email.headerregistry email.message email.parser
    email.utils enum filecmp fileinput fnmatch fractions ftplib functools genericpath getopt getpass gettext glob
    graphlib gzip hashlib heapq hmac html html.parser http.client http.cookiejar http.cookies http.server imaplib
    importlib.abc importlib.util inspect io ipaddress json json.decoder json.encoder keyword linecache locale
    logging logging.config logging.handlers lzma mailbox mimetypes multiprocessing.context multiprocessing.managers
    multiprocessing.pool multiprocessing.shared_memory netrc numbers operator optparse os pathlib pdb pickle
    pickletools pkgutil platform plistlib poplib posixpath pprint profile pstats pydoc queue quopri random reprlib
    runpy sched secrets selectors shelve shlex shutil signal site smtplib socket socketserver ssl stat statistics
    string stringprep subprocess symtable sysconfig tarfile tempfile textwrap threading timeit tokenize trace
    traceback tracemalloc types typing unittest.case unittest.mock unittest.suite urllib.parse urllib.request
    urllib.robotparser uuid venv warnings wave weakref webbrowser xml.dom.minidom xml.etree.ElementTree
    xmlrpc.client zipapp zipfile zoneinfo._zoneinfo _pydecimal
    """.split()  # noqa: SIM905 - a list of so many quoted words cannot be read

QUERIES = Path(__file__).parent / "data" / "retrieval_queries.json"

Half = Literal["tuned_on", "reported_on"]
RECALLED = 5


@dataclass(frozen=True, slots=True)
class KnownItem:
    """A question, and the objects whose documentation answers it (any of them will do)."""

    question: str
    targets: frozenset[str]


@cache
def known_items() -> dict[str, tuple[KnownItem, ...]]:
    """The questions of each half."""
    halves = json.loads(QUERIES.read_text("utf-8"))
    return {
        half: tuple(KnownItem(each["question"], frozenset(each["targets"])) for each in questions)
        for half, questions in halves.items()
    }


def docstring_documents() -> Iterator[Document]:
    """A document a module, a passage for each documentation string of the running Python."""
    for module in MODULES:
        place = Path(sysconfig.get_path("stdlib"), *module.split("."))
        source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        tree = ast.parse(source.read_text("utf-8"))
        yield Document(
            collection="stdlib",
            path=f"{module}.py",
            content_hash=module,
            indexed_at=0,
            passages=tuple(_docstrings(tree, module)),
        )


def _docstrings(node: ast.AST, name: str) -> Iterator[Passage]:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        text = ast.get_docstring(node)
        if text:
            first = node.body[0]
            yield Passage(title=name, first_line=first.lineno, last_line=first.end_lineno or first.lineno, text=text)
    for child in ast.iter_child_nodes(node):
        inner = getattr(child, "name", None)
        named = isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        yield from _docstrings(child, f"{name}.{inner}" if named else name)


def docstring_index(connection: sqlite3.Connection) -> None:
    """Index them in an empty database, as the sage does in its file."""
    connection.executescript(SCHEMA_SQL)
    for document in docstring_documents():
        put(connection, document.document_id, document)
    connection.commit()


def recall(connection: sqlite3.Connection, half: str) -> tuple[int, int, list[str]]:
    """How many questions of a half find their target among the first five, of how many, and those that do not."""
    missed = []
    items = known_items()[half]
    for item in items:
        found = search(connection, [item.question], "default", limit=RECALLED)
        if not item.targets & {each.title for each in found}:
            missed.append(item.question)
    return len(items) - len(missed), len(items), missed
