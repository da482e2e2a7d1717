"""What tests.support.forked imports once for all its processes. It starts no thread and reads no configuration."""

# ruff: noqa: F401 - to import them is all

import celery.bin.celery
import celery.bin.worker
import celery.concurrency.thread
import celery.worker.consumer
import kombu.transport.pyamqp
import sqlalchemy.dialects.postgresql.psycopg
import sqlalchemy.dialects.sqlite
import time_machine
import uvicorn.lifespan.on
import uvicorn.loops.auto
import uvicorn.main
import uvicorn.protocols.http.h11_impl

import alts.worker.composition
import scheduler.api.application
import scheduler.composition
import tests.chaos.journalled_runner
