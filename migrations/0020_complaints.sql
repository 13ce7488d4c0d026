-- What customers complain about: projections of entries. What was said stands in entry_notes.
CREATE TABLE complaints (
    account_id       uuid          NOT NULL,
    -- The entry that opened it.
    opened_seq       bigint        NOT NULL,
    program_id       text          NOT NULL,
    category_id      text,
    priority         text          NOT NULL,
    channel          text,
    -- The value class of its customer as its clock started.
    value_class_id   text,
    state            text          NOT NULL,
    received_at      timestamptz   NOT NULL,
    -- Since when its deadlines are counted, and by which version of the program: since it was received, or reopened last.
    clock_started_at timestamptz   NOT NULL,
    policy_version   integer       NOT NULL,
    acknowledged_at  timestamptz,
    answered_at      timestamptz,
    -- In which times the clock stood since then. The last may have no end yet.
    paused_from      timestamptz[] NOT NULL,
    paused_until     timestamptz[] NOT NULL,
    -- By when something has to be done. What is met or missed is absent, and all is while the clock stands.
    acknowledge_by   timestamptz,
    answer_by        timestamptz,
    resolve_by       timestamptz,
    extended         boolean       NOT NULL,
    -- The first deadline that it missed since the clock started, and all of them in that order.
    late_since       timestamptz,
    missed           text[]        NOT NULL,
    escalated        boolean       NOT NULL,
    remedy           text,
    remedy_value     bigint,
    offered_at       timestamptz,
    resolved_at      timestamptz,
    outcome          text,
    handling_score   smallint,
    reopened         integer       NOT NULL,
    -- How many steps it has.
    steps            integer       NOT NULL,
    -- When its customer was erased: nobody deals with it any more.
    ended_at         timestamptz,
    CONSTRAINT complaints_pkey PRIMARY KEY (account_id, opened_seq),
    CONSTRAINT complaints_priority_known CHECK (priority IN ('low', 'normal', 'high')),
    CONSTRAINT complaints_state_known CHECK (
        state IN ('received', 'acknowledged', 'waiting', 'escalated', 'offered', 'resolved')
    ),
    CONSTRAINT complaints_resolved_whole CHECK (
        (state = 'resolved') = (resolved_at IS NOT NULL) AND (state = 'resolved') = (outcome IS NOT NULL)
    ),
    CONSTRAINT complaints_score CHECK (handling_score BETWEEN 1 AND 5),
    CONSTRAINT complaints_pauses_whole CHECK (
        cardinality(paused_from) - cardinality(paused_until) = CASE WHEN state = 'waiting' THEN 1 ELSE 0 END
    )
);

-- Those of a customer that are not resolved: few, however many there were.
CREATE INDEX complaints_open ON complaints (account_id, opened_seq) WHERE resolved_at IS NULL AND ended_at IS NULL;

-- Those of a program that press, the most urgent first. What asks must say it word for word.
CREATE INDEX complaints_due ON complaints
    (program_id, coalesce(late_since, least(acknowledge_by, answer_by, resolve_by)), account_id, opened_seq)
    WHERE resolved_at IS NULL AND ended_at IS NULL
      AND coalesce(late_since, least(acknowledge_by, answer_by, resolve_by)) IS NOT NULL;

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_complaint AS (
    account_id       uuid,
    opened_seq       bigint,
    program_id       text,
    category_id      text,
    priority         text,
    channel          text,
    value_class_id   text,
    state            text,
    received_at      timestamptz,
    clock_started_at timestamptz,
    policy_version   integer,
    acknowledged_at  timestamptz,
    answered_at      timestamptz,
    paused_from      timestamptz[],
    paused_until     timestamptz[],
    acknowledge_by   timestamptz,
    answer_by        timestamptz,
    resolve_by       timestamptz,
    extended         boolean,
    late_since       timestamptz,
    missed           text[],
    escalated        boolean,
    remedy           text,
    remedy_value     bigint,
    offered_at       timestamptz,
    resolved_at      timestamptz,
    outcome          text,
    handling_score   smallint,
    reopened         integer,
    steps            integer,
    ended_at         timestamptz
);

-- Whose customer is erased, and when.
CREATE TYPE sent_complaint_end AS (
    account_id       uuid,
    ended_at         timestamptz
);

-- The steps of complaints, with what is counted of them.
CREATE TABLE complaint_steps (
    account_id     uuid        NOT NULL,
    -- The entry of the step, and the one that opened the complaint.
    account_seq    bigint      NOT NULL,
    opened_seq     bigint      NOT NULL,
    program_id     text        NOT NULL,
    -- The local day on which it was taken is found by this instant.
    taken_at       timestamptz NOT NULL,
    kind           text        NOT NULL,
    -- The category of the complaint then.
    category_id    text,
    -- Whether it was the acknowledgement, and the first answer; and for how many minutes the clock had run.
    acknowledged   boolean     NOT NULL,
    answered       boolean     NOT NULL,
    took           bigint,
    -- Whether the deadline that it meets was missed before.
    was_late       boolean     NOT NULL,
    -- The deadline that was missed by it.
    missed         text,
    outcome        text,
    handling_score smallint,
    CONSTRAINT complaint_steps_pkey PRIMARY KEY (account_id, account_seq),
    CONSTRAINT complaint_steps_score CHECK (handling_score BETWEEN 1 AND 5)
);

CREATE INDEX complaint_steps_of ON complaint_steps (account_id, opened_seq, account_seq);

-- The days of a period.
CREATE INDEX complaint_steps_by_time ON complaint_steps (program_id, taken_at);

-- A row as a batch sends it.
CREATE TYPE sent_complaint_step AS (
    account_id     uuid,
    account_seq    bigint,
    opened_seq     bigint,
    program_id     text,
    taken_at       timestamptz,
    kind           text,
    category_id    text,
    acknowledged   boolean,
    answered       boolean,
    took           bigint,
    was_late       boolean,
    missed         text,
    outcome        text,
    handling_score smallint
);

-- Who deals with complaints, as callers say: erasable, so never in the ledger.
CREATE TABLE complaint_owners (
    account_id uuid   NOT NULL,
    opened_seq bigint NOT NULL,
    owner      text   NOT NULL,
    CONSTRAINT complaint_owners_pkey PRIMARY KEY (account_id, opened_seq)
);

-- A row as a batch sends it.
CREATE TYPE sent_complaint_owner AS (
    account_id uuid,
    opened_seq bigint,
    owner      text
);
