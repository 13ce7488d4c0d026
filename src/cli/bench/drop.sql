DROP TABLE IF EXISTS bench_rows;
DROP TABLE IF EXISTS bench_entries;
