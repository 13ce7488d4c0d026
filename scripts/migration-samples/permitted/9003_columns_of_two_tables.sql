-- In the other order than the service has.
ALTER TABLE ledger_entries ADD COLUMN channel text;
ALTER TABLE accounts ADD COLUMN channel text;
