-- Which version of a program is in force: a projection of the program account's entries.
CREATE TABLE programs (
    account_id uuid        NOT NULL,
    program_id text        NOT NULL,
    version    integer     NOT NULL,
    applied_at timestamptz NOT NULL,
    CONSTRAINT programs_pkey PRIMARY KEY (account_id),
    CONSTRAINT programs_program_id_once UNIQUE (program_id)
);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_program AS (
    account_id uuid,
    program_id text,
    version    integer,
    applied_at timestamptz
);

-- Every version that was ever in force, as it was applied. A source of record: rows are only ever added.
CREATE TABLE program_versions (
    program_id text        NOT NULL,
    version    integer     NOT NULL,
    document   jsonb       NOT NULL,
    applied_at timestamptz NOT NULL,
    CONSTRAINT program_versions_pkey PRIMARY KEY (program_id, version),
    CONSTRAINT program_versions_version_positive CHECK (version > 0)
);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_version AS (
    program_id text,
    version    integer,
    document   jsonb,
    applied_at timestamptz
);
