-- refused: require-concurrent-index-creation
CREATE INDEX ledger_entries_by_reason ON ledger_entries (reason);
