//! The declaration of a table: each room declares its own once. The privileges of the service's role, the scans of the
//! audit, its repairs and the lists in tests follow from it.

/// One table of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name in the schema.
    pub name: &'static str,
    /// What its rows are to the book.
    pub role: TableRole,
    /// What the service may do with its rows, besides reading them.
    pub rights: TableRights,
    /// Statements that find rows which point at nothing, or at what does not point back. Each selects the account that
    /// owns the row, and a text that says what is wrong. They may not name parameters. An index finds the rows of an
    /// account, so that an audit can look for those of some accounts alone.
    pub strays: &'static [&'static str],
    /// The same, where no index finds the rows of an account: only an audit of the whole ledger looks for these.
    pub scanned_strays: &'static [&'static str],
}

/// What the rows of a table are to the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableRole {
    /// The ledger itself. Nobody changes or removes a row of it.
    Ledger,
    /// The head of each account: a projection that is put right in place, since batches lock its rows.
    Head,
    /// A source of record, which no entry can tell anew.
    Source,
    /// What applying an account's entries gives. Its rows belong to the account in the column `account_id`; without a
    /// head of that account they belong to nobody, and a repair removes them.
    Projection {
        /// What a row is called for people: an SQL expression over the table's columns.
        row: &'static str,
    },
    /// A report of its time, which is neither compared nor built anew.
    Report,
}

/// What the service may do with the rows of a table, besides reading them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableRights {
    /// It may add rows, and neither change nor remove them.
    Append,
    /// It may add and change rows.
    AppendAndChange,
    /// It may add rows, and remove them again.
    AppendAndRemove,
    /// It may add, change and remove rows.
    AppendChangeAndRemove,
}

impl TableRights {
    /// The privileges as Postgres names them.
    #[must_use]
    pub const fn privileges(self) -> &'static str {
        match self {
            Self::Append => "SELECT, INSERT",
            Self::AppendAndChange => "SELECT, INSERT, UPDATE",
            Self::AppendAndRemove => "SELECT, INSERT, DELETE",
            Self::AppendChangeAndRemove => "SELECT, INSERT, UPDATE, DELETE",
        }
    }
}

impl Table {
    /// A projection by its name and what a row of it is called. The service adds and changes its rows.
    #[must_use]
    pub const fn projection(name: &'static str, row: &'static str) -> Self {
        Self::new(name, TableRole::Projection { row }, TableRights::AppendAndChange)
    }

    /// A source of record by its name, and what the service may do with its rows.
    #[must_use]
    pub const fn source(name: &'static str, rights: TableRights) -> Self {
        Self::new(name, TableRole::Source, rights)
    }

    /// A report by its name, and what the service may do with its rows.
    #[must_use]
    pub const fn report(name: &'static str, rights: TableRights) -> Self {
        Self::new(name, TableRole::Report, rights)
    }

    /// A table of which nothing can be stray.
    #[must_use]
    pub const fn new(name: &'static str, role: TableRole, rights: TableRights) -> Self {
        Self { name, role, rights, strays: &[], scanned_strays: &[] }
    }

    /// The table, with statements that find its stray rows.
    #[must_use]
    pub const fn with_strays(mut self, strays: &'static [&'static str]) -> Self {
        self.strays = strays;
        self
    }

    /// The table, with statements that find stray rows of it which no index finds by their account.
    #[must_use]
    pub const fn with_scanned_strays(mut self, strays: &'static [&'static str]) -> Self {
        self.scanned_strays = strays;
        self
    }

    /// Whether its rows are what applying entries gives.
    #[must_use]
    pub const fn is_projection(&self) -> bool {
        match self.role {
            TableRole::Projection { .. } => true,
            TableRole::Ledger | TableRole::Head | TableRole::Source | TableRole::Report => false,
        }
    }
}
