-- Of which value class customers are, and how the customers of programs were classed: projections of entries.

-- A row for each decision about a customer; only ever added to. The last one counts. It names nobody.
CREATE TABLE value_classes (
    account_id     uuid        NOT NULL,
    -- The entry that decided.
    account_seq    bigint      NOT NULL,
    program_id     text        NOT NULL,
    -- The class, by its name in the version of the program that decided, and how closely its customers are looked after.
    class_id       text        NOT NULL,
    level          text,
    -- The end at which it was decided, as the first day after the period.
    until          date        NOT NULL,
    -- Since when they are of the class, and when this was decided.
    since          timestamptz NOT NULL,
    decided_at     timestamptz NOT NULL,
    policy_version integer     NOT NULL,
    -- What was measured, in minor units, and at how many ends in a row they have been below the class.
    measured       bigint      NOT NULL,
    ends_below     integer     NOT NULL,
    CONSTRAINT value_classes_pkey PRIMARY KEY (account_id, account_seq),
    CONSTRAINT value_classes_level_known CHECK (level IN ('basic', 'reactive', 'accountable', 'proactive', 'partner')),
    CONSTRAINT value_classes_ends CHECK (ends_below >= 0)
);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_value_class AS (
    account_id     uuid,
    account_seq    bigint,
    program_id     text,
    class_id       text,
    level          text,
    until          date,
    since          timestamptz,
    decided_at     timestamptz,
    policy_version integer,
    measured       bigint,
    ends_below     integer
);

-- The ends of periods at which the customers of a program were classed, each once. The entry tells the rest.
CREATE TABLE classifications (
    -- The entry, on the program's own account.
    account_id   uuid        NOT NULL,
    account_seq  bigint      NOT NULL,
    program_id   text        NOT NULL,
    -- The first day after the period.
    until        date        NOT NULL,
    effective_at timestamptz NOT NULL,
    CONSTRAINT classifications_pkey PRIMARY KEY (account_id, account_seq),
    CONSTRAINT classifications_until_once UNIQUE (program_id, until)
);

-- A row as a batch sends it.
CREATE TYPE sent_classification AS (
    account_id   uuid,
    account_seq  bigint,
    program_id   text,
    until        date,
    effective_at timestamptz
);

-- Where the work of deciding about customers has come to, in each program.
CREATE TABLE classification_rounds (
    program_id       text    NOT NULL CONSTRAINT classification_rounds_pkey PRIMARY KEY,
    -- The end of the period that it is about: the first day after it.
    until            date    NOT NULL,
    -- The last account that was decided about.
    after_account_id uuid    NOT NULL,
    -- Whether somebody was left out before it, who could not be written to at the moment.
    has_left         boolean NOT NULL,
    -- Whether all were decided about.
    is_done          boolean NOT NULL,
    -- Until when whoever works has it for themselves, if they do not say so again; null, if nobody works.
    leased_until     timestamptz
);
