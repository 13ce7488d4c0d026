//! The dossier: who customers are, how to reach them, what matters to them.

pub(crate) mod grpc;
pub(crate) mod model;
pub(crate) mod state;
mod store;

use std::any::TypeId;

use sqlx::{PgConnection, PgPool};
use tokio::time::Instant;

use crate::book::{
    Account, Actor, Book, Command, CommandKey, CustomerDetail, Decision, DecisionError, Entry, EntryReason, Key, Name,
    NameUse, NewEntry,
};
use crate::error::{Error, Reason, Refusal};
use crate::ids::{AccountId, CustomerId, IdempotencyKey, ProgramId};
use crate::paging::PageRequest;
use crate::programs::state::ProgramsState;
use crate::programs::{current_policy, program_not_found};
use model::{Consent, Dossier, Part, enrol};
use state::{CustomerRow, CustomersState};

pub(crate) use store::{capability, read_customers};

/// The use cases of customers.
#[derive(Clone)]
pub(crate) struct Customers {
    book: Book,
    pool: PgPool,
}

/// A dossier with everything recorded about contact.
#[derive(Clone, Debug)]
pub(crate) struct Customer {
    /// The dossier, as it is stored.
    pub row: CustomerRow,
    /// Every consent, in the order recorded.
    pub consents: Vec<Consent>,
}

impl Customers {
    /// Customers written through `book` and read from `pool`.
    #[must_use]
    pub(crate) const fn new(book: Book, pool: PgPool) -> Self {
        Self { book, pool }
    }

    /// Enrols a customer with a dossier. Says whether it is a repetition.
    ///
    /// # Errors
    /// If the program is unknown, the customer exists, or the key was used for something else.
    pub(crate) async fn create_customer(
        &self,
        create: CreateCustomer,
        deadline: Option<Instant>,
    ) -> Result<(Customer, bool), Error> {
        let answer = create.clone();
        let written = self.book.submit(create, deadline).await?;
        Ok((answer.into_customer(&written.entries)?, written.replayed))
    }

    /// Finds one customer by the business's own id.
    ///
    /// # Errors
    /// If the program or the customer is unknown.
    pub(crate) async fn get_customer(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
    ) -> Result<Customer, Error> {
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, program_id, customer_id).await?;
        let row = read_customers(&mut connection, &[account_id]).await?.pop();
        let row = row.ok_or_else(|| customer_not_found(customer_id))?;
        let consents = store::read_consents(&mut connection, &[account_id]).await?;
        Ok(Customer { row, consents: consents.into_iter().map(|(_, consent)| consent).collect() })
    }

    /// Changes parts of a dossier.
    ///
    /// # Errors
    /// If the customer is unknown, or the dossier changed since the etag was read.
    pub(crate) async fn update_customer(
        &self,
        update: UpdateCustomer,
        deadline: Option<Instant>,
    ) -> Result<Customer, Error> {
        let (program_id, customer_id) = (update.program_id.clone(), update.customer_id.clone());
        self.book.submit(update, deadline).await?;
        self.get_customer(&program_id, &customer_id).await
    }

    /// A page of a program's customers.
    ///
    /// # Errors
    /// If the program is unknown.
    pub(crate) async fn list_customers(
        &self,
        program_id: &ProgramId,
        page: &PageRequest,
    ) -> Result<(Vec<Customer>, String), Error> {
        let mut connection = self.pool.acquire().await?;
        let rows = store::list_customers(&mut connection, program_id, page.after.as_deref(), page.limit()).await?;
        if rows.is_empty() {
            let exists = crate::programs::read_version(&mut connection, program_id, None).await?.is_some();
            if !exists {
                return Err(program_not_found(program_id).into());
            }
        }
        let (rows, next_page_token) = page.cut(rows, |row| row.customer_id.to_string());
        let accounts: Vec<AccountId> = rows.iter().map(|row| row.account_id).collect();
        let mut consents = std::collections::BTreeMap::<AccountId, Vec<Consent>>::new();
        for (account_id, consent) in store::read_consents(&mut connection, &accounts).await? {
            consents.entry(account_id).or_default().push(consent);
        }
        let customers = rows.into_iter().map(|row| {
            let consents = consents.remove(&row.account_id).unwrap_or_default();
            Customer { row, consents }
        });
        Ok((customers.collect(), next_page_token))
    }
}

/// The refusal for a customer that does not exist.
#[must_use]
pub(crate) fn customer_not_found(customer_id: &CustomerId) -> Refusal {
    Refusal::new(Reason::CustomerNotFound, format!("there is no customer {customer_id}"))
        .with("customer_id", customer_id)
}

/// The account of a customer, for reads.
///
/// # Errors
/// If the program or the customer is unknown.
pub(crate) async fn find_account(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    customer_id: &CustomerId,
) -> Result<AccountId, Error> {
    let account_id = store::find_account(connection, program_id, customer_id).await?;
    let account_id = account_id.ok_or_else(|| program_not_found(program_id))?;
    Ok(account_id.ok_or_else(|| customer_not_found(customer_id))?)
}

/// The locked account of a customer who exists, for decisions.
///
/// # Errors
/// A refusal if the customer does not exist.
pub(crate) fn require_customer<'a>(
    decision: &Decision<'a>,
    program_id: &ProgramId,
    customer_id: &CustomerId,
) -> Result<&'a Account, DecisionError> {
    let account = decision.find(&Name::customer(program_id, customer_id))?;
    Ok(account.ok_or_else(|| customer_not_found(customer_id))?)
}

/// Enrols a customer of whom nothing but the name is known yet.
///
/// # Errors
/// [`DecisionError`] as [`enrol`].
pub(crate) fn enrol_by_name(
    decision: &mut Decision<'_>,
    policy: &crate::programs::model::ProgramVersion,
    account: &Account,
    customer_id: &CustomerId,
) -> Result<(), DecisionError> {
    enrol(decision, policy, account)?;
    keep_dossier(decision, account, customer_id, Dossier::default(), Vec::new());
    Ok(())
}

fn keep_dossier(
    decision: &mut Decision<'_>,
    account: &Account,
    customer_id: &CustomerId,
    dossier: Dossier,
    consents: Vec<Consent>,
) {
    let created_at = account.time_at(decision.at());
    let row = CustomerRow {
        account_id: account.account_id,
        program_id: account.program_id.clone(),
        customer_id: customer_id.clone(),
        dossier,
        revision: 1,
        created_at,
        updated_at: created_at,
    };
    decision.keep(move |state: &mut CustomersState| state.put(row, consents));
}

/// Enrols a customer with a dossier. The fields are described in customers.proto.
#[derive(Clone, Debug)]
pub(crate) struct CreateCustomer {
    pub program_id: ProgramId,
    pub customer_id: CustomerId,
    pub dossier: Dossier,
    pub consents: Vec<Consent>,
    pub key: IdempotencyKey,
}

impl CreateCustomer {
    /// The customer as this command made them, from its entries.
    fn into_customer(self, entries: &[Entry]) -> Result<Customer, Error> {
        let first = entries
            .first()
            .ok_or_else(|| Error::Internal(format!("program {}: an enrolment wrote no entry", self.program_id)))?;
        let row = CustomerRow {
            account_id: first.id.account_id,
            program_id: self.program_id,
            customer_id: self.customer_id,
            dossier: self.dossier,
            revision: 1,
            created_at: first.effective_at,
            updated_at: first.effective_at,
        };
        Ok(Customer { row, consents: self.consents })
    }
}

impl Command for CreateCustomer {
    fn program_id(&self) -> &ProgramId {
        &self.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        vec![NameUse::FindOrOpen(Name::customer(&self.program_id, &self.customer_id))]
    }

    fn key(&self) -> Option<CommandKey> {
        let content = ("create_customer", &self.dossier, &self.consents);
        let key = Key::of_content("key", self.key.as_str(), &content);
        Some(CommandKey { key, reused: Reason::IdempotencyKeyReused })
    }

    fn states(&self) -> Vec<TypeId> {
        vec![TypeId::of::<ProgramsState>()]
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let policy = current_policy(decision, &self.program_id)?;
        let account =
            decision.find(&Name::customer(&self.program_id, &self.customer_id))?.ok_or(DecisionError::NotLoaded)?;
        if account.head > 0 {
            let message = format!("customer {} exists already", self.customer_id);
            let refusal = Refusal::new(Reason::CustomerAlreadyExists, message);
            return Err(refusal.with("customer_id", &self.customer_id).into());
        }
        refuse_future_consents(&self.consents, decision.now())?;
        enrol(decision, &policy, account)?;
        keep_dossier(decision, account, &self.customer_id, self.dossier.clone(), self.consents.clone());
        Ok(())
    }
}

/// Changes parts of a dossier; naturally idempotent. The fields are described in customers.proto.
#[derive(Clone, Debug)]
pub(crate) struct UpdateCustomer {
    pub program_id: ProgramId,
    pub customer_id: CustomerId,
    pub dossier: Dossier,
    pub consents: Vec<Consent>,
    pub parts: Vec<Part>,
    /// The revision that the caller read, if it insists on it.
    pub revision: Option<i64>,
}

impl Command for UpdateCustomer {
    fn program_id(&self) -> &ProgramId {
        &self.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        vec![NameUse::Find(Name::customer(&self.program_id, &self.customer_id))]
    }

    fn key(&self) -> Option<CommandKey> {
        None
    }

    fn states(&self) -> Vec<TypeId> {
        vec![TypeId::of::<ProgramsState>(), TypeId::of::<CustomersState>()]
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let policy = current_policy(decision, &self.program_id)?;
        let account = require_customer(decision, &self.program_id, &self.customer_id)?;
        let state: &CustomersState = decision.state()?;
        let row = state.get(account.account_id).ok_or_else(|| customer_not_found(&self.customer_id))?;
        if self.revision.is_some_and(|revision| revision != row.revision) {
            let refusal = Refusal::new(Reason::EtagMismatch, "the dossier changed since its etag was read");
            return Err(refusal.with("etag", row.revision).into());
        }
        refuse_future_consents(&self.consents, decision.now())?;
        let recorded = state.consents(account.account_id);
        let new_consents: Vec<Consent> = if self.parts.contains(&Part::MarketingConsents) {
            self.consents.iter().filter(|consent| !recorded.contains(consent)).cloned().collect()
        } else {
            Vec::new()
        };
        let mut changed = row.clone();
        changed.dossier.replace_parts(&self.dossier, &self.parts);
        if changed.dossier == row.dossier && new_consents.is_empty() {
            return Ok(());
        }
        changed.revision = row.revision.saturating_add(1);
        changed.updated_at = decision.at().max(row.updated_at);
        let new_entry = NewEntry {
            detail: CustomerDetail::DossierUpdated { revision: changed.revision }.into(),
            movement: None,
            actor: Actor::Caller,
            reason: EntryReason::DossierUpdate,
            policy_version: policy.version,
            causes: Vec::new(),
        };
        decision.post(account.account_id, new_entry)?;
        decision.keep(move |state: &mut CustomersState| state.put(changed, new_consents));
        Ok(())
    }
}

/// Refuses a consent that is dated after the present.
fn refuse_future_consents(consents: &[Consent], now: jiff::Timestamp) -> Result<(), Refusal> {
    match consents.iter().find(|consent| crate::clock::is_in_future(consent.decided_at, now)) {
        Some(consent) => Err(Refusal::new(Reason::InstantInFuture, "a consent was decided in the future")
            .with("decided_at", consent.decided_at)),
        None => Ok(()),
    }
}
