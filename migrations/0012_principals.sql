-- Who calls: what the opaque id in an entry stands for. A person is erased here, and the entry stays as it is.
CREATE TABLE principals (
    principal_id uuid        NOT NULL,
    -- How they prove who they are.
    kind         text        NOT NULL,
    -- Who vouches for them, such as the issuer of a token; empty where it is the service itself.
    issuer       text        NOT NULL,
    -- Their name to whoever vouches.
    subject      text        NOT NULL,
    -- The customer who they are; absent for others. One login that is used for two customers is two principals, so that each
    -- customer has, and is erased with, what is their own.
    customer_id  text,
    -- The programs in which they are that customer; all of them, if absent.
    program_ids  text[],
    first_seen   timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT principals_pkey PRIMARY KEY (principal_id),
    CONSTRAINT principals_seen_once UNIQUE NULLS NOT DISTINCT (kind, issuer, subject, customer_id)
);

-- Finds who called as a customer: what a person can have of what is known of them, and what is erased with them.
CREATE INDEX principals_by_customer ON principals (customer_id) WHERE customer_id IS NOT NULL;
