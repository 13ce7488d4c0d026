CREATE TABLE households (
    household_id uuid NOT NULL,
    name         text NOT NULL,
    CONSTRAINT households_pkey PRIMARY KEY (household_id),
    CONSTRAINT households_named CHECK (name <> '')
);
CREATE INDEX households_by_name ON households (name);
CREATE TYPE sent_household AS (household_id uuid, name text);
