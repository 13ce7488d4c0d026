-- What customers did, as the business reported it. A source of record, immutable, erasable with its customer.
CREATE TABLE activities (
    account_id   uuid        NOT NULL,
    -- The entry that accepted it.
    account_seq  bigint      NOT NULL,
    activity_id  text        NOT NULL,
    kind         text        NOT NULL,
    -- Of a refund: the entry that accepted the purchase.
    purchase_seq bigint,
    -- Of a purchase or a refund, in minor units of the program's currency.
    amount       bigint,
    -- Of feedback: the survey that it answers, if it answers one.
    survey_id    text,
    happened_at  timestamptz NOT NULL,
    recorded_at  timestamptz NOT NULL,
    CONSTRAINT activities_pkey PRIMARY KEY (account_id, account_seq),
    CONSTRAINT activities_activity_id_once UNIQUE (account_id, activity_id),
    CONSTRAINT activities_kind_known CHECK (kind IN ('purchase', 'refund', 'feedback')),
    CONSTRAINT activities_refund_has_purchase CHECK ((kind = 'refund') = (purchase_seq IS NOT NULL)),
    CONSTRAINT activities_has_amount CHECK ((amount IS NULL) = (kind = 'feedback')),
    CONSTRAINT activities_amount_not_negative CHECK (amount >= 0),
    CONSTRAINT activities_survey_is_answered CHECK (survey_id IS NULL OR kind = 'feedback')
-- Vacuum marks and freezes each page once, as in ledger_entries.
) WITH (
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 1000000,
    autovacuum_freeze_min_age = 0
);

-- A customer answers a survey once.
CREATE UNIQUE INDEX activities_survey_once ON activities (account_id, survey_id) WHERE survey_id IS NOT NULL;

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_activity AS (
    account_id   uuid,
    account_seq  bigint,
    activity_id  text,
    kind         text,
    purchase_seq bigint,
    amount       bigint,
    survey_id    text,
    happened_at  timestamptz,
    recorded_at  timestamptz
);
