-- Nothing has read it since 0.2.0.
-- squawk-ignore ban-drop-column
ALTER TABLE accounts DROP COLUMN household_id;
