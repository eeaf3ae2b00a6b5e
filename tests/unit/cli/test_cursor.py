"""Cursors of lists, as typed."""

from __future__ import annotations

import pytest

from eldermesh_cli.follow.job_page import Place, read_cursor
from eldermesh_cli.program.errors import CliError


def test_a_cursor_is_read_back() -> None:
    """Milliseconds and the job's id."""
    assert read_cursor("1795654611580.a-job") == Place(1795654611580, "a-job")


@pytest.mark.parametrize(
    "text", ["", "12", ".a", "-1.a", "x.a", "\u0661.a", f"{'9' * 5000}.a"], ids=lambda text: text[:8]
)
def test_what_is_no_cursor(text: str) -> None:
    """Wrong usage, exit status 2, however many digits it has."""
    with pytest.raises(CliError, match="is no cursor") as refused:
        read_cursor(text)
    assert refused.value.status == 2
