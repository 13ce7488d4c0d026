-- no-transaction
CREATE UNIQUE INDEX CONCURRENTLY ledger_entries_command_once ON ledger_entries (command_id, account_id, account_seq);
