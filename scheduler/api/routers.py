"""All routes of the API."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter

from scheduler.api.routes import artifacts, health, tasks, workers

ROUTERS: Sequence[APIRouter] = (tasks.router, artifacts.router, workers.router, health.router)
"""The API includes them in this order. A new file of routes adds its router here."""
