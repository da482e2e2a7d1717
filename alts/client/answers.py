"""Reads the scheduler's error responses."""

from __future__ import annotations

import httpx


def detail_of(answer: httpx.Response) -> str:
    """Return the scheduler's explanation, or the body of another server's answer; at most 500 characters."""
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text
    return str(detail)[:500]
