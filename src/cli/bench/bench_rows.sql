\set account random(1, 1000000)
\set points random(1, 1000)
INSERT INTO bench_rows (account, points) VALUES (:account, :points);
