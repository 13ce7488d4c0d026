-- Which versions of a program are in force: a projection of the program account's entries.
CREATE TABLE programs (
    account_id uuid          NOT NULL,
    program_id text          NOT NULL,
    -- The version in force and those that follow it, in the order of their numbers, and from when on each one decides.
    versions   integer[]     NOT NULL,
    starts     timestamptz[] NOT NULL,
    CONSTRAINT programs_agenda_whole CHECK (cardinality(versions) = cardinality(starts) AND cardinality(versions) > 0),
    CONSTRAINT programs_pkey PRIMARY KEY (account_id),
    CONSTRAINT programs_program_id_once UNIQUE (program_id)
);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_program AS (
    account_id uuid,
    program_id text,
    versions   integer[],
    starts     timestamptz[]
);

-- The version in force at an instant: the last of an agenda that has begun by then; before the first, that one.
CREATE FUNCTION version_at(versions integer[], starts timestamptz[], instant timestamptz) RETURNS integer
LANGUAGE sql IMMUTABLE
RETURN (
    SELECT version FROM unnest(versions, starts) AS planned (version, start)
    WHERE start <= instant OR version = versions[1]
    ORDER BY version DESC LIMIT 1
);

-- Every version that was ever applied. A source of record: rows are only ever added.
CREATE TABLE program_versions (
    program_id text        NOT NULL,
    version    integer     NOT NULL,
    document   jsonb       NOT NULL,
    applied_at timestamptz NOT NULL,
    -- From when on it decides, unless one of a higher number does.
    effective_from timestamptz NOT NULL,
    CONSTRAINT program_versions_pkey PRIMARY KEY (program_id, version),
    CONSTRAINT program_versions_version_positive CHECK (version > 0)
);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_version AS (
    program_id text,
    version    integer,
    document   jsonb,
    applied_at timestamptz,
    effective_from timestamptz
);
