-- refused: adding-field-with-default
ALTER TABLE ledger_entries ADD COLUMN token uuid NOT NULL DEFAULT gen_random_uuid();
