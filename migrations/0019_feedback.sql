-- What customers said, as far as it is in numbers: projections of entries. They stay when a customer is erased, since they name
-- nobody. What was said in words stands in entry_notes, and the survey beside the activity.
CREATE TABLE feedback (
    account_id       uuid        NOT NULL,
    -- The entry that accepted it.
    account_seq      bigint      NOT NULL,
    program_id       text        NOT NULL,
    -- The local day on which it was given.
    day              date        NOT NULL,
    happened_at      timestamptz NOT NULL,
    effective_at     timestamptz NOT NULL,
    channel          text,
    satisfaction     smallint,
    recommendation   smallint,
    -- The three questions of the American Customer Satisfaction Index.
    acsi_satisfaction smallint,
    acsi_expectation smallint,
    acsi_ideal       smallint,
    -- The factors, what each is given, and how important it is; 0 where that was not said.
    factor_ids       text[]      NOT NULL,
    factor_scores    smallint[]  NOT NULL,
    importances      smallint[]  NOT NULL,
    -- What was received and what it cost, in minor units of the program's currency.
    received         bigint,
    cost_money       bigint,
    cost_time        bigint,
    cost_effort      bigint,
    cost_nerves      bigint,
    involvement      smallint,
    brands           integer,
    CONSTRAINT feedback_pkey PRIMARY KEY (account_id, account_seq),
    CONSTRAINT feedback_scores CHECK (
        satisfaction BETWEEN 1 AND 5 AND recommendation BETWEEN 0 AND 10 AND acsi_satisfaction BETWEEN 1 AND 10
        AND acsi_expectation BETWEEN 1 AND 10 AND acsi_ideal BETWEEN 1 AND 10
    ),
    CONSTRAINT feedback_says_something CHECK (num_nonnulls(satisfaction, recommendation, acsi_satisfaction) > 0),
    CONSTRAINT feedback_acsi_whole CHECK (num_nulls(acsi_satisfaction, acsi_expectation, acsi_ideal) IN (0, 3)),
    CONSTRAINT feedback_value_whole CHECK (
        num_nulls(received, cost_money, cost_time, cost_effort, cost_nerves) IN (0, 5)
    ),
    CONSTRAINT feedback_factors_whole CHECK (
        cardinality(factor_ids) = cardinality(factor_scores) AND cardinality(factor_ids) = cardinality(importances)
    )
-- Vacuum marks and freezes each page once, as in ledger_entries.
) WITH (
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 1000000,
    autovacuum_freeze_min_age = 0
);

-- The days of a period.
CREATE INDEX feedback_by_day ON feedback (program_id, day);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_feedback AS (
    account_id       uuid,
    account_seq      bigint,
    program_id       text,
    day              date,
    happened_at      timestamptz,
    effective_at     timestamptz,
    channel          text,
    satisfaction     smallint,
    recommendation   smallint,
    acsi_satisfaction smallint,
    acsi_expectation smallint,
    acsi_ideal       smallint,
    factor_ids       text[],
    factor_scores    smallint[],
    importances      smallint[],
    received         bigint,
    cost_money       bigint,
    cost_time        bigint,
    cost_effort      bigint,
    cost_nerves      bigint,
    involvement      smallint,
    brands           integer
);
