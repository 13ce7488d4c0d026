-- 200 entries as a grant writes them, on 200 of 10,000 accounts. An account's number is the microsecond and, since two
-- connections may have the same one, the connection.
\set account random(1, 10000)
INSERT INTO bench_entries
    (account_id, account_seq, program_id, kind, from_pocket, to_pocket, points, detail, command_id, key_hash,
     fingerprint, principal_id, actor, reason, policy_version, causes, trace_id, effective_at, recorded_at, hash_version,
     content_hash)
SELECT lpad(to_hex((:account + 49 * number) % 10000), 32, '0')::uuid, seq, 'bench', 'points_granted', 'issued',
    'available', number, '{"kind":"points_granted"}', gen_random_uuid(), hash,
    hash, '00000000-0000-0000-0000-000000000001', 'caller', 'goodwill', 1, '{}', substring(hash FOR 16), now(), now(), 1, hash
FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 256 + :client_id AS seq) AS present
CROSS JOIN generate_series(1, 200) AS number
CROSS JOIN LATERAL (SELECT sha256(int8send(seq + number)) AS hash OFFSET 0) AS hashed;
