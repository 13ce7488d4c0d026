-- The dossier: who a customer is. A source of record, erasable; the ledger knows only the account.
CREATE TABLE customers (
    account_id  uuid        NOT NULL,
    program_id  text        NOT NULL,
    customer_id text        NOT NULL,
    dossier     jsonb       NOT NULL,
    -- Counts the changes of the dossier: the etag.
    revision    bigint      NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    CONSTRAINT customers_pkey PRIMARY KEY (account_id),
    CONSTRAINT customers_customer_id_once UNIQUE (program_id, customer_id)
);

-- Finds who has their birthday on a day, of those who have told one.
CREATE INDEX customers_birthdays
    ON customers (program_id, (dossier #>> '{birth_date,month}'), (dossier #>> '{birth_date,day}'), account_id)
    WHERE dossier #>> '{birth_date,month}' IS NOT NULL;

-- Finds who joined on a day, in pages.
CREATE INDEX customers_joined ON customers (program_id, created_at, account_id);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_customer AS (
    account_id  uuid,
    program_id  text,
    customer_id text,
    dossier     jsonb,
    revision    bigint,
    created_at  timestamptz,
    updated_at  timestamptz
);

-- What a customer said about being contacted: one row a decision, the newest of a channel holds.
CREATE TABLE marketing_consents (
    account_id uuid        NOT NULL,
    revision   bigint      NOT NULL,
    position   integer     NOT NULL,
    channel    text        NOT NULL,
    granted    boolean     NOT NULL,
    source     text        NOT NULL,
    decided_at timestamptz NOT NULL,
    CONSTRAINT marketing_consents_pkey PRIMARY KEY (account_id, revision, position),
    CONSTRAINT marketing_consents_channel_known CHECK (channel IN ('email', 'phone', 'sms', 'post', 'push'))
);

-- A row as a batch sends it: an array of these is one parameter.
CREATE TYPE sent_consent AS (
    account_id uuid,
    revision   bigint,
    position   integer,
    channel    text,
    granted    boolean,
    source     text,
    decided_at timestamptz
);

-- Finds the decision that holds for a channel, the newest of all, and whether one was recorded before.
CREATE INDEX marketing_consents_decided
    ON marketing_consents (account_id, channel, decided_at, revision, position);
