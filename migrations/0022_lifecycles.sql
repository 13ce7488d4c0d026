-- Where customers stand in the relationship: a projection of entries. A customer about whom nothing was decided has no row.
CREATE TABLE lifecycles (
    account_id         uuid        NOT NULL,
    program_id         text        NOT NULL,
    stage              text        NOT NULL,
    satisfaction_class text,
    loyalty_class      text,
    brand_class        text,
    -- Since when they are in the stage, the entry that decided last, and the version that it did so by.
    since              timestamptz NOT NULL,
    decided_seq        bigint      NOT NULL,
    policy_version     integer     NOT NULL,
    -- What is known of them.
    purchases          bigint      NOT NULL,
    spend              bigint      NOT NULL,
    referrals          bigint      NOT NULL,
    last_purchase_at   timestamptz,
    satisfaction       integer,
    satisfaction_at    timestamptz,
    recommendation     integer,
    recommendation_at  timestamptz,
    involvement        integer,
    involvement_at     timestamptz,
    brands             integer,
    brands_at          timestamptz,
    open_complaints    bigint      NOT NULL,
    -- After how many days without a purchase they stand elsewhere.
    rare_after         integer,
    at_risk_after      integer,
    lapsed_after       integer,
    lost_after         integer,
    -- When the customer was erased.
    ended_at           timestamptz,
    CONSTRAINT lifecycles_pkey PRIMARY KEY (account_id),
    CONSTRAINT lifecycles_stage_known CHECK (
        stage IN ('prospect', 'first_time', 'repeat', 'client', 'advocate', 'at_risk', 'lapsed', 'lost', 'won_back')
    ),
    CONSTRAINT lifecycles_answers_whole CHECK (
        (satisfaction IS NULL) = (satisfaction_at IS NULL) AND (recommendation IS NULL) = (recommendation_at IS NULL)
        AND (involvement IS NULL) = (involvement_at IS NULL) AND (brands IS NULL) = (brands_at IS NULL)
    )
);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_lifecycle AS (
    account_id         uuid,
    program_id         text,
    stage              text,
    satisfaction_class text,
    loyalty_class      text,
    brand_class        text,
    since              timestamptz,
    decided_seq        bigint,
    policy_version     integer,
    purchases          bigint,
    spend              bigint,
    referrals          bigint,
    last_purchase_at   timestamptz,
    satisfaction       integer,
    satisfaction_at    timestamptz,
    recommendation     integer,
    recommendation_at  timestamptz,
    involvement        integer,
    involvement_at     timestamptz,
    brands             integer,
    brands_at          timestamptz,
    open_complaints    bigint,
    rare_after         integer,
    at_risk_after      integer,
    lapsed_after       integer,
    lost_after         integer,
    ended_at           timestamptz
);

-- Whose customer is erased, and when.
CREATE TYPE sent_lifecycle_end AS (
    account_id uuid,
    ended_at   timestamptz
);

-- Every decision about where customers stand, whose entry tells the rest: a projection of entries.
CREATE TABLE lifecycle_decisions (
    account_id  uuid        NOT NULL,
    account_seq bigint      NOT NULL,
    -- Since when they were in the stage.
    since       timestamptz NOT NULL,
    CONSTRAINT lifecycle_decisions_pkey PRIMARY KEY (account_id, account_seq)
);

-- A row as a batch sends it.
CREATE TYPE sent_lifecycle_decision AS (
    account_id  uuid,
    account_seq bigint,
    since       timestamptz
);
