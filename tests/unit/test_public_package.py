"""What `import eldermesh` gives, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import eldermesh


def test_everything_exported_is_there() -> None:
    """Every name of `__all__` can be had, and a wrong one is an AttributeError as in any module."""
    for name in eldermesh.__all__:
        assert getattr(eldermesh, name).__name__ == name
    with pytest.raises(AttributeError, match="Nobody"):
        _ = eldermesh.Nobody


def test_the_contract_alone_does_not_load_kafka() -> None:
    """In a fresh interpreter the contract's types come without the Kafka client, the services or `shared`."""
    code = (
        "import sys, eldermesh, eldermesh.contract.commands, eldermesh.contract.results;"
        "print(sorted({'aiokafka', 'shared', 'services', 'redis', 'celery'} & set(sys.modules)))"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert seen.stdout.strip() == "[]"


def test_the_client_does_not_load_shared() -> None:
    """A user's own package called `shared` must not meet ours: the client needs none of it."""
    code = (
        "import sys; from eldermesh import Client;"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in {'shared', 'services'}))"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert seen.stdout.strip() == "[]"
