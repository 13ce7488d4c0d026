-- no-transaction
DROP INDEX CONCURRENTLY ledger_entries_by_channel;
