//! The SQL of erasures: whether somebody was erased, what is kept of it, and what is taken away with them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::book::{Defect, Key, Scope, States, Store};
use crate::customers::erasure::keys::{ErasureKeys, Identifier, IdentifierHash};
use crate::customers::erasure::state::{ErasedPerson, Erasure, ErasuresState, Settled};
use crate::customers::state::CustomersState;
use crate::database::{StoreError, Traced as _, WritePart, sent_as, write_part};
use crate::ids::{AccountId, CustomerId, ProgramId};

/// How many erasures of one customer are looked at: the last ones.
const MAX_ERASURES: i64 = 64;

/// Reads and writes erasures. Who was erased is known again by `keys`.
pub(super) struct ErasuresStore {
    pub(super) keys: ErasureKeys,
}

#[async_trait]
impl Store for ErasuresStore {
    async fn load(&self, states: &mut States, _scope: &Scope, connection: &mut PgConnection) -> Result<(), StoreError> {
        let state: &ErasuresState = states.get()?;
        if self.keys.is_empty() || (state.asked.is_empty() && state.asked_dossiers.is_empty()) {
            return Ok(());
        }
        let wanted = self.hash_names(&state.asked);
        let dossiers = self.hash_dossiers(&state.asked_dossiers, states)?;
        let state: &mut ErasuresState = states.get_mut()?;
        let hashes: BTreeSet<IdentifierHash> = wanted.keys().chain(dossiers.keys()).copied().collect();
        for (hash, erasure) in find_erasures(connection, &hashes).await? {
            if let Some(name) = wanted.get(&hash) {
                state.found.entry(name.clone()).or_default().push(erasure);
            }
            state.found_dossiers.extend(dossiers.get(&hash).into_iter().flatten());
        }
        for erasures in state.found.values_mut() {
            // A customer may have been kept under several keys.
            erasures.sort_unstable_by_key(|erasure| (erasure.erased_at, erasure.account_id));
            erasures.dedup_by_key(|erasure| erasure.account_id);
        }
        Ok(())
    }

    fn write_parts(&self, states: &States) -> Result<Vec<WritePart>, StoreError> {
        let ErasuresState { new, again, .. } = states.get()?;
        if !new.is_empty() && self.keys.is_empty() {
            return Err(Defect::new("a customer is erased without a key").into());
        }
        Ok(vec![
            insert_erasures(new),
            insert_tombstones(new, &self.keys),
            delete_names(new),
            delete_principals(new, again),
        ])
    }
}

impl ErasuresStore {
    fn hash_names(
        &self,
        names: &BTreeSet<(ProgramId, CustomerId)>,
    ) -> HashMap<IdentifierHash, (ProgramId, CustomerId)> {
        let mut hashes = HashMap::new();
        for name in names {
            let own = self.keys.hashes(&name.0, Identifier::CustomerId(&name.1));
            hashes.extend(own.map(|hash| (hash, name.clone())));
        }
        hashes
    }

    /// Whoever asks about dossiers asks for them, too.
    fn hash_dossiers(
        &self,
        accounts: &BTreeSet<AccountId>,
        states: &States,
    ) -> Result<BTreeMap<IdentifierHash, Vec<AccountId>>, Defect> {
        let mut hashes = BTreeMap::<_, Vec<AccountId>>::new();
        for account_id in accounts {
            let Some(row) = states.get_loaded::<CustomersState>()?.get(*account_id) else { continue };
            for identifier in [Identifier::Email(&row.dossier.email), Identifier::Phone(&row.dossier.phone)] {
                for hash in self.keys.hashes(&row.program_id, identifier) {
                    hashes.entry(hash).or_default().push(*account_id);
                }
            }
        }
        Ok(hashes)
    }
}

/// The erasures of whoever is known by these hashes: of each hash the last ones.
async fn find_erasures(
    connection: &mut PgConnection,
    hashes: &BTreeSet<IdentifierHash>,
) -> Result<Vec<(IdentifierHash, Erasure)>, StoreError> {
    let hashes: Vec<Vec<u8>> = hashes.iter().map(|hash| hash.0.to_vec()).collect();
    let rows = sqlx::query!(
        r#"SELECT u.hash AS "hash!", e.account_id, e.erased_at AS "erased_at: jiff_sqlx::Timestamp", e.key_hash, e.fingerprint,
                  e.expired, e.paid_out, e.cancelled
           FROM unnest($1::bytea[]) AS u (hash)
           CROSS JOIN LATERAL (
               SELECT e.* FROM tombstones t
               CROSS JOIN LATERAL (SELECT * FROM erasures e WHERE e.account_id = t.account_id OFFSET 0) e
               WHERE t.hash = u.hash ORDER BY e.erased_at DESC, e.account_id DESC LIMIT $2
           ) e"#,
        &hashes,
        MAX_ERASURES,
    )
    .fetch_all(connection)
    .traced("SELECT tombstones")
    .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let damaged = |_| Defect::new(format!("the erasure of account {}: a hash has another length", row.account_id));
        let key = Key {
            hash: row.key_hash.as_slice().try_into().map_err(damaged)?,
            fingerprint: row.fingerprint.as_slice().try_into().map_err(damaged)?,
        };
        let hash = IdentifierHash(row.hash.as_slice().try_into().map_err(damaged)?);
        let settled = Settled { expired: row.expired, paid_out: row.paid_out, cancelled: row.cancelled };
        let erased_at = row.erased_at.to_jiff();
        found.push((hash, Erasure { account_id: AccountId(row.account_id), erased_at, key, settled }));
    }
    Ok(found)
}

/// An erasure as it is sent.
#[derive(sqlx::Encode)]
struct SentErasure {
    account_id: Uuid,
    program_id: String,
    erased_at: jiff_sqlx::Timestamp,
    key_hash: [u8; 32],
    fingerprint: [u8; 32],
    expired: i64,
    paid_out: i64,
    cancelled: i64,
}

sent_as!(SentErasure, "sent_erasure");

fn insert_erasures(new: &[(Erasure, ErasedPerson)]) -> WritePart {
    let rows = new.iter().map(|(erasure, person)| SentErasure {
        account_id: erasure.account_id.0,
        program_id: person.program_id.to_string(),
        erased_at: erasure.erased_at.to_sqlx(),
        key_hash: erasure.key.hash,
        fingerprint: erasure.key.fingerprint,
        expired: erasure.settled.expired,
        paid_out: erasure.settled.paid_out,
        cancelled: erasure.settled.cancelled,
    });
    write_part!(
        "INSERT INTO erasures (account_id, program_id, erased_at, key_hash, fingerprint, expired, paid_out, cancelled)
         SELECT * FROM unnest($1::sent_erasure[])",
        rows.collect::<Vec<SentErasure>>(),
    )
}

/// A tombstone as it is sent.
#[derive(sqlx::Encode)]
struct SentTombstone {
    hash: [u8; 32],
    account_id: Uuid,
    key_name: String,
}

sent_as!(SentTombstone, "sent_tombstone");

fn insert_tombstones(new: &[(Erasure, ErasedPerson)], keys: &ErasureKeys) -> WritePart {
    let mut rows = Vec::new();
    for (erasure, person) in new {
        let identifiers = [
            Identifier::CustomerId(&person.customer_id),
            Identifier::Email(&person.email),
            Identifier::Phone(&person.phone),
        ];
        let hashes = identifiers.into_iter().filter_map(|identifier| keys.hash(&person.program_id, identifier));
        rows.extend(hashes.map(|(key_name, hash)| SentTombstone {
            hash: hash.0,
            account_id: erasure.account_id.0,
            key_name: key_name.to_owned(),
        }));
    }
    write_part!("INSERT INTO tombstones (hash, account_id, key_name) SELECT * FROM unnest($1::sent_tombstone[])", rows,)
}

/// The name of a customer who is erased, as it is sent.
#[derive(sqlx::Encode)]
struct SentErasedName {
    account_id: Uuid,
    program_id: String,
    customer_id: String,
}

sent_as!(SentErasedName, "sent_erased_name");

fn names(new: &[(Erasure, ErasedPerson)]) -> Vec<SentErasedName> {
    let names = new.iter().map(|(erasure, person)| SentErasedName {
        account_id: erasure.account_id.0,
        program_id: person.program_id.to_string(),
        customer_id: person.customer_id.to_string(),
    });
    names.collect()
}

fn delete_names(new: &[(Erasure, ErasedPerson)]) -> WritePart {
    write_part!(
        "DELETE FROM names n USING unnest($1::sent_erased_name[]) AS u
         WHERE n.name = u.customer_id AND n.program_id = u.program_id AND n.space = 'customer'
           AND n.account_id = u.account_id",
        names(new),
    )
}

/// Whoever called as the customer is nobody's principal any more; entries keep their ids.
fn delete_principals(new: &[(Erasure, ErasedPerson)], again: &[(ProgramId, CustomerId)]) -> WritePart {
    let again = again.iter().map(|(program_id, customer_id)| SentErasedName {
        account_id: Uuid::nil(),
        program_id: program_id.to_string(),
        customer_id: customer_id.to_string(),
    });
    write_part!(
        "DELETE FROM principals p USING unnest($1::sent_erased_name[]) AS u
         WHERE p.customer_id = u.customer_id AND (p.program_ids IS NULL OR u.program_id = ANY (p.program_ids))",
        names(new).into_iter().chain(again).collect::<Vec<SentErasedName>>(),
    )
}
