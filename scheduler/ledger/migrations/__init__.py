"""Alembic migrations of the tables. scheduler.ledger.schema runs them when the ledger is opened.

A change of scheduler/ledger/tables.py needs a new file in versions/, written by hand after the model of the last one,
and its number in schema.HEAD.
A test compares the tables that both make. Existing files never change, because databases were made with them.
"""
