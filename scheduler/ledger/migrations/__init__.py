"""The steps from one version's tables to the next one's; scheduler.ledger.schema takes them when the ledger is opened.

A change of scheduler/ledger/tables.py needs a new file in versions/, written by hand after the model of the last one;
a test compares what both make. What is there is never changed: databases were made with it.
"""
