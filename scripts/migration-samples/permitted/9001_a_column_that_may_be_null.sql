ALTER TABLE accounts ADD COLUMN household_id uuid;
