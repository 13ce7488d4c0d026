-- Keys by which services prove who they are. The key itself is nowhere: only its hash is kept.
CREATE TABLE api_keys (
    key_id       uuid        NOT NULL,
    -- Whose key it is. A name has at most two live keys, so that one can replace the other.
    name         text        NOT NULL,
    slot         smallint    NOT NULL,
    -- SHA-256 of the key, and its beginning, by which people tell keys apart.
    key_hash     bytea       NOT NULL,
    prefix       text        NOT NULL,
    roles        text[]      NOT NULL,
    -- The programs in which it has these roles; all of them, if absent.
    programs     text[],
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The role of the database that made it, and the one that revoked it.
    created_by   text        NOT NULL DEFAULT session_user,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    revoked_by   text,
    -- To within some seconds.
    last_used_at timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (key_id),
    CONSTRAINT api_keys_slot CHECK (slot IN (1, 2)),
    CONSTRAINT api_keys_hash_length CHECK (octet_length(key_hash) = 32),
    CONSTRAINT api_keys_hash_once UNIQUE (key_hash),
    CONSTRAINT api_keys_prefix_once UNIQUE (prefix),
    CONSTRAINT api_keys_have_roles CHECK (cardinality(roles) > 0)
);

CREATE UNIQUE INDEX api_keys_two_live ON api_keys (name, slot) WHERE revoked_at IS NULL;

-- Find when keys were made and revoked: `ListPrivilegedActions`.
CREATE INDEX api_keys_created ON api_keys (created_at, key_id);
CREATE INDEX api_keys_revoked ON api_keys (revoked_at, key_id) WHERE revoked_at IS NOT NULL;
