-- Customers who were erased. Nothing here says who they were, but to whoever has the keys and asks about a person they know.
CREATE TABLE erasures (
    account_id  uuid        NOT NULL,
    program_id  text        NOT NULL,
    erased_at   timestamptz NOT NULL,
    -- The idempotency key of the request and its content, both hashed.
    key_hash    bytea       NOT NULL,
    fingerprint bytea       NOT NULL,
    -- What became of the points that the customer had.
    expired     bigint      NOT NULL,
    paid_out    bigint      NOT NULL,
    cancelled   bigint      NOT NULL,
    CONSTRAINT erasures_pkey PRIMARY KEY (account_id),
    CONSTRAINT erasures_hash_lengths CHECK (octet_length(key_hash) = 32 AND octet_length(fingerprint) = 32),
    CONSTRAINT erasures_points_not_negative CHECK (least(expired, paid_out, cancelled) >= 0)
);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_erasure AS (
    account_id  uuid,
    program_id  text,
    erased_at   timestamptz,
    key_hash    bytea,
    fingerprint bytea,
    expired     bigint,
    paid_out    bigint,
    cancelled   bigint
);

-- By what an erased person may be known again: their identifiers, each as HMAC-SHA256 with a key that is not in the
-- database.
CREATE TABLE tombstones (
    hash       bytea NOT NULL,
    account_id uuid  NOT NULL,
    -- The name of the key.
    key_name   text  NOT NULL,
    CONSTRAINT tombstones_pkey PRIMARY KEY (hash, account_id),
    CONSTRAINT tombstones_hash_length CHECK (octet_length(hash) = 32)
);

-- A row as a batch sends it.
CREATE TYPE sent_tombstone AS (
    hash       bytea,
    account_id uuid,
    key_name   text
);

-- The name of a customer who is erased, as a batch sends it.
CREATE TYPE sent_erased_name AS (
    account_id  uuid,
    program_id  text,
    customer_id text
);

-- An account whose points go with its customer, as a batch sends it: what becomes of those that are available, and which
-- lots the batch writes anyway.
CREATE TYPE sent_forfeit AS (
    account_id  uuid,
    is_paid_out boolean,
    written     bigint[]
);
