ALTER TABLE accounts ADD CONSTRAINT accounts_household_known
    FOREIGN KEY (household_id) REFERENCES households (household_id) NOT VALID;
