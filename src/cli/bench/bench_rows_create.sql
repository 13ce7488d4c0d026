CREATE TABLE IF NOT EXISTS bench_rows (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account bigint NOT NULL,
    points bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
