//! Reads all that is kept of one customer, part by part and page by page, from the snapshot of its export.

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::document::{
    ActivityItem, CodeItem, DossierPart, EntitlementItem, EntryItem, HoldItem, LotItem, OwnReferral, PocketsPart,
    ReferralItem, SCHEMA, TierChangeItem, TierPart,
};
use super::store::{read_own_principals, scan_noted_entries};
use super::text::DocumentText;
use crate::activities::read_activities;
use crate::benefits::read_grants;
use crate::book::read_head;
use crate::customers::read_recorded_consents;
use crate::customers::state::CustomerRow;
use crate::database::{ExportReader, Halt, Outlet, Traced as _};
use crate::error::Defect;
use crate::ids::{AccountId, CustomerId, ProgramId};
use crate::points::{read_common_expiry, read_holds, read_lots};
use crate::programs::model::{Program, Which};
use crate::programs::read_version;
use crate::referrals::{read_codes, read_referral_of, read_referrals_by};
use crate::tiers::{read_standing, read_tier_changes};

/// How many rows are held in memory at a time.
const PAGE: i64 = 500;

/// Whom a document is about, and its instant.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) program_id: ProgramId,
    pub(super) customer_id: CustomerId,
    pub(super) account_id: AccountId,
    pub(super) as_of: Timestamp,
}

/// Reads the document of one customer.
pub(super) struct CustomerReader {
    pub(super) subject: Subject,
    pub(super) dossier: CustomerRow,
}

impl ExportReader for CustomerReader {
    type Item = Vec<u8>;

    fn name(&self) -> String {
        format!("the export of account {}", self.subject.account_id.0)
    }

    async fn read(&mut self, connection: &mut PgConnection, outlet: &Outlet<Vec<u8>>) -> Result<(), Halt> {
        let version =
            read_version(connection, &self.subject.program_id, Which::InForce(Some(self.subject.as_of))).await?;
        let version = version.ok_or_else(|| damaged(&self.subject, "its program is gone"))?;
        let text = DocumentText::begin();
        let mut parts = Parts { subject: &self.subject, program: &version.program, connection, outlet, text };
        parts.write_person(&self.dossier).await?;
        parts.write_tiers().await?;
        parts.write_entitlements().await?;
        parts.write_points().await?;
        parts.write_activities().await?;
        parts.write_referrals().await?;
        let own = parts.write_principals().await?;
        parts.write_entries(&own).await?;
        outlet.send(parts.text.end()).await
    }
}

fn damaged(subject: &Subject, what: &str) -> Defect {
    Defect::new(format!("the document of account {}: {what}", subject.account_id.0))
}

/// Writes the parts of a document, each behind the other.
struct Parts<'a> {
    subject: &'a Subject,
    program: &'a Program,
    connection: &'a mut PgConnection,
    outlet: &'a Outlet<Vec<u8>>,
    text: DocumentText,
}

impl Parts<'_> {
    fn member(&mut self, name: &str, value: &impl Serialize) -> Result<(), Halt> {
        let written = self.text.member(name, value);
        written.map_err(|error| damaged(self.subject, &format!("{name}: {error}")).into())
    }

    /// Adds an item to the list that was begun, and sends what is full.
    async fn item(&mut self, value: &(impl Serialize + Sync)) -> Result<(), Halt> {
        self.text.item(value).map_err(|error| damaged(self.subject, &error.to_string()))?;
        match self.text.take_full() {
            Some(piece) => self.outlet.send(piece).await,
            None => Ok(()),
        }
    }

    async fn write_person(&mut self, dossier: &CustomerRow) -> Result<(), Halt> {
        let subject = self.subject;
        self.member("schema", &SCHEMA)?;
        self.member("program_id", &subject.program_id.as_str())?;
        self.member("customer_id", &subject.customer_id.as_str())?;
        self.member("account_id", &subject.account_id)?;
        self.member("as_of", &subject.as_of)?;
        let part = DossierPart::of(dossier).map_err(|error| damaged(subject, &format!("dossier: {error}")))?;
        self.member("dossier", &part)?;
        self.text.begin_list("marketing_consents");
        let mut after = (0, 0);
        loop {
            let page = read_recorded_consents(self.connection, subject.account_id, after, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            for (_, consent) in &page {
                self.item(consent).await?;
            }
        }
        self.text.end_list();
        Ok(())
    }

    async fn write_tiers(&mut self) -> Result<(), Halt> {
        let (account_id, program) = (self.subject.account_id, self.program);
        let standing = read_standing(self.connection, account_id).await?;
        let standing = standing.ok_or_else(|| damaged(self.subject, "there is no standing"))?;
        self.member("tier", &TierPart::of(&standing, account_id, program))?;
        self.text.begin_list("tier_changes");
        let mut before = i64::MAX;
        loop {
            let page = read_tier_changes(self.connection, account_id, before, PAGE).await?;
            let Some(last) = page.last() else { break };
            before = last.id.account_seq;
            for change in page.iter().filter_map(TierChangeItem::of) {
                self.item(&change).await?;
            }
        }
        self.text.end_list();
        Ok(())
    }

    async fn write_entitlements(&mut self) -> Result<(), Halt> {
        let account_id = self.subject.account_id;
        self.text.begin_list("entitlements");
        let mut after = 0;
        loop {
            let page = read_grants(self.connection, account_id, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.granted_seq;
            for found in &page {
                self.item(&EntitlementItem::of(found, account_id)).await?;
            }
        }
        self.text.end_list();
        Ok(())
    }

    async fn write_points(&mut self) -> Result<(), Halt> {
        let account_id = self.subject.account_id;
        let account = read_head(self.connection, account_id).await?;
        let account = account.ok_or_else(|| damaged(self.subject, "there is no account"))?;
        self.member("balance", &PocketsPart::of(&account.balance))?;
        let common = read_common_expiry(self.connection, account_id).await?;
        self.text.begin_list("lots");
        let mut before = i64::MAX;
        loop {
            let page = read_lots(self.connection, account_id, &common, before, PAGE).await?;
            let Some((last, ..)) = page.last() else { break };
            before = last.account_seq;
            for (lot_id, lot, expires_at) in &page {
                self.item(&LotItem::of(*lot_id, lot, *expires_at)).await?;
            }
        }
        self.text.end_list();
        self.text.begin_list("holds");
        let mut before = i64::MAX;
        loop {
            let page = read_holds(self.connection, account_id, before, PAGE).await?;
            let Some((last, ..)) = page.last() else { break };
            before = last.account_seq;
            for (hold_id, hold, held_at) in &page {
                self.item(&HoldItem::of(*hold_id, hold, *held_at)).await?;
            }
        }
        self.text.end_list();
        Ok(())
    }

    async fn write_activities(&mut self) -> Result<(), Halt> {
        let (account_id, program) = (self.subject.account_id, self.program);
        self.text.begin_list("activities");
        let mut before = i64::MAX;
        loop {
            let page = read_activities(self.connection, account_id, before, PAGE).await?;
            let Some(last) = page.last() else { break };
            before = last.entry_id.account_seq;
            for row in &page {
                self.item(&ActivityItem::of(row, program)).await?;
            }
        }
        self.text.end_list();
        Ok(())
    }

    async fn write_referrals(&mut self) -> Result<(), Halt> {
        let Subject { account_id, as_of, .. } = *self.subject;
        let codes = read_codes(self.connection, account_id).await?;
        self.text.begin_list("referral_codes");
        for code in &codes {
            self.item(&CodeItem::of(code, account_id)).await?;
        }
        self.text.end_list();
        if let Some(referral) = read_referral_of(self.connection, account_id, as_of).await? {
            self.member("referral", &OwnReferral::of(&referral))?;
        }
        self.text.begin_list("referrals");
        let mut before = None;
        loop {
            let page = read_referrals_by(self.connection, account_id, before, as_of, PAGE).await?;
            let Some(last) = page.last() else { break };
            before = Some((last.created_at, last.referee));
            for referral in &page {
                self.item(&ReferralItem::of(referral, &codes)).await?;
            }
        }
        self.text.end_list();
        Ok(())
    }

    /// Returns the ids of the customer's own principals.
    async fn write_principals(&mut self) -> Result<BTreeSet<Uuid>, Halt> {
        let Subject { program_id, customer_id, .. } = self.subject;
        let principals = read_own_principals(self.connection, program_id, customer_id).await?;
        self.text.begin_list("principals");
        for principal in &principals {
            self.item(principal).await?;
        }
        self.text.end_list();
        Ok(principals.into_iter().map(|principal| principal.principal_id).collect())
    }

    async fn write_entries(&mut self, own: &BTreeSet<Uuid>) -> Result<(), Halt> {
        self.text.begin_list("entries");
        let Parts { subject, connection, outlet, text, .. } = self;
        let scan = async {
            let mut entries = scan_noted_entries(connection, subject.account_id);
            while let Some((entry, note)) = entries.try_next().await? {
                let is_own = own.contains(&entry.principal_id.0);
                let defect = |error| damaged(subject, &format!("entry {}: {error}", entry.id));
                let item = EntryItem::of(&entry, &note, is_own).map_err(defect)?;
                text.item(&item).map_err(defect)?;
                if let Some(piece) = text.take_full() {
                    outlet.send(piece).await?;
                }
            }
            Ok::<(), Halt>(())
        };
        scan.traced("SELECT ledger_entries").await?;
        self.text.end_list();
        Ok(())
    }
}
