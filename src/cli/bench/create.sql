CREATE TABLE IF NOT EXISTS bench_rows (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account bigint NOT NULL,
    points bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
-- Columns, constraints and indexes are those of the ledger; what triggers do there costs an insert nothing.
CREATE TABLE IF NOT EXISTS bench_entries (LIKE ledger_entries INCLUDING ALL);
