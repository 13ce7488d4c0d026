-- Nothing has read it since 0.2.0.
-- squawk-ignore ban-drop-type
DROP TYPE sent_household;
-- squawk-ignore ban-drop-table
DROP TABLE households;
