-- no-transaction
CREATE INDEX CONCURRENTLY ledger_entries_by_channel ON ledger_entries (program_id, channel);
