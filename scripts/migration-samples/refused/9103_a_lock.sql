-- refused: this keeps everybody from a table
LOCK TABLE ledger_entries;
SELECT pg_sleep(5);
