//! The codes and referrals of a batch, and what entries and time do to them.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Code, Names, Referral, ReferralState, expire};
use crate::book::{
    Account, Cell, CustomerDetail, Defect, Detail, Due, DueKind, Dues, Entry, NewEntry, ReferralDetail, Row, State,
};
use crate::ids::{AccountId, CampaignId, ReferralCode};

/// The codes and referrals of a batch.
#[derive(Default)]
pub(crate) struct ReferralsState {
    /// Whether a command asked for codes. Few do, and of a batch of purchases none.
    pub(super) is_asked_for_codes: bool,
    /// Whether a command tells referrals with their names.
    pub(super) is_asked_for_names: bool,
    /// Of the accounts and of those who brought them, where names were asked for.
    pub(super) names: Names,
    pub(super) codes: BTreeMap<(AccountId, CampaignId), Code>,
    pub(super) new_codes: BTreeSet<(AccountId, CampaignId)>,
    pub(super) referrals: BTreeMap<AccountId, Referral>,
    pub(super) changed: BTreeSet<AccountId>,
    /// Accounts whose customers are erased: nobody can come with their codes any more.
    pub(super) erased: BTreeSet<AccountId>,
}

impl ReferralsState {
    /// Asks for the codes of the accounts.
    pub(crate) const fn ask_codes(&mut self) {
        self.is_asked_for_codes = true;
    }

    /// Asks for the [names](Self::names) of the accounts, and of those who brought them.
    pub(crate) const fn ask_names(&mut self) {
        self.is_asked_for_names = true;
    }

    /// The code that a customer shares in a campaign. They are loaded only on request.
    #[must_use]
    pub(crate) fn code(&self, account_id: AccountId, campaign_id: &CampaignId) -> Option<&Code> {
        self.codes.get(&(account_id, campaign_id.clone()))
    }

    /// A customer's code by its text.
    #[must_use]
    pub(crate) fn find_code(&self, account_id: AccountId, code: &ReferralCode) -> Option<&Code> {
        self.codes.iter().find(|((owner, _), found)| *owner == account_id && found.code == *code).map(|(_, code)| code)
    }

    /// The names that were [asked for](Self::ask_names).
    #[must_use]
    pub(crate) const fn names(&self) -> &Names {
        &self.names
    }

    /// How a customer was brought, if they were.
    #[must_use]
    pub(crate) fn referral(&self, referee: AccountId) -> Option<&Referral> {
        self.referrals.get(&referee)
    }

    fn end(&mut self, entry: &Entry, state: ReferralState) -> Result<(), Defect> {
        let referral = self.referrals.get_mut(&entry.id.account_id);
        let referral = referral.ok_or_else(|| Defect::new(format!("entry {}: no referral is loaded", entry.id)))?;
        referral.state = state;
        referral.policy_version = entry.policy_version;
        self.changed.insert(entry.id.account_id);
        Ok(())
    }

    fn apply_referral(&mut self, entry: &Entry, detail: &ReferralDetail) -> Result<(), Defect> {
        let (account_id, seq, at) = (entry.id.account_id, entry.id.account_seq, entry.effective_at);
        match detail {
            ReferralDetail::ReferralCodeCreated { campaign_id, code } => {
                let key = (account_id, campaign_id.clone());
                let code =
                    Code { campaign_id: campaign_id.clone(), code: code.clone(), account_seq: seq, created_at: at };
                self.new_codes.insert(key.clone());
                self.codes.insert(key, code);
            }
            ReferralDetail::ReferralCreated { campaign_id, referrer, expires_at } => {
                let referral = Referral {
                    referee: account_id,
                    referrer: *referrer,
                    campaign_id: campaign_id.clone(),
                    policy_version: entry.policy_version,
                    state: ReferralState::Pending,
                    created_seq: seq,
                    created_at: at,
                    expires_at: *expires_at,
                };
                self.changed.insert(account_id);
                self.referrals.insert(account_id, referral);
            }
            ReferralDetail::ReferralConverted { qualifying, referrer_reward, referee_reward, .. } => {
                let (qualifying, referrer_reward, referee_reward) = (*qualifying, *referrer_reward, *referee_reward);
                self.end(entry, ReferralState::Converted { seq, at, qualifying, referrer_reward, referee_reward })?;
            }
            ReferralDetail::ReferralExpired => self.end(entry, ReferralState::Expired { seq: Some(seq), at })?,
        }
        Ok(())
    }
}

impl State for ReferralsState {
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        match &entry.detail {
            Detail::Referral(detail) => self.apply_referral(entry, detail),
            Detail::Customer(CustomerDetail::CustomerErased { .. }) => {
                self.erased.insert(entry.id.account_id);
                Ok(())
            }
            // Nothing else changes codes and referrals: what converts a referral says so in an entry of its own.
            Detail::Program(_)
            | Detail::Customer(_)
            | Detail::Activity(_)
            | Detail::Points(_)
            | Detail::Tier(_)
            | Detail::Benefit(_)
            | Detail::Complaint(_)
            | Detail::Goodwill(_)
            | Detail::Lifecycle(_)
            | Detail::Value(_) => Ok(()),
        }
    }

    fn dues(&self) -> Option<&dyn Dues> {
        Some(self)
    }

    fn rows(&self, account_id: AccountId) -> Box<dyn Iterator<Item = Row<'_>> + Send + '_> {
        let referral = self.referrals.get(&account_id).map(referral_row);
        // A state that is compared has few accounts, and an account has few codes.
        let codes = self.codes.iter().filter(move |((owner, _), _)| *owner == account_id);
        Box::new(referral.into_iter().chain(codes.map(|(_, code)| code_row(code))))
    }
}

impl Dues for ReferralsState {
    fn next_due(&self, account_id: AccountId) -> Option<Due> {
        let referral = self.referrals.get(&account_id).filter(|referral| referral.state == ReferralState::Pending)?;
        referral.expires_at.map(|at| Due { at, kind: DueKind::EndReferral })
    }

    fn decide_due(&self, account: &Account, _due: Due) -> Vec<NewEntry> {
        self.referrals.get(&account.account_id).map(expire).into_iter().collect()
    }
}

fn code_row(code: &Code) -> Row<'_> {
    Row {
        noun: "referral code of campaign",
        key: Cell::word(code.campaign_id.as_str()),
        columns: vec![
            ("code", Cell::word(code.code.as_str())),
            ("account_seq", code.account_seq.into()),
            ("created_at", code.created_at.into()),
        ],
    }
}

fn referral_row(referral: &Referral) -> Row<'_> {
    let (ended_seq, ended_at, entries) = match referral.state {
        ReferralState::Pending => (None, None, [None; 3]),
        ReferralState::Converted { seq, at, qualifying, referrer_reward, referee_reward } => {
            (Some(seq), Some(at), [qualifying, referrer_reward, referee_reward])
        }
        ReferralState::Expired { seq, at } => (seq, Some(at), [None; 3]),
    };
    let [qualifying, referrer_reward, referee_reward] = entries.map(|id| id.map(|id| id.account_seq));
    Row {
        noun: "referral",
        key: Cell::Absent,
        columns: vec![
            ("referrer_account_id", Cell::text(referral.referrer.0)),
            ("campaign_id", Cell::word(referral.campaign_id.as_str())),
            ("policy_version", referral.policy_version.into()),
            ("state", Cell::word(referral.state.word())),
            ("created_seq", referral.created_seq.into()),
            ("created_at", referral.created_at.into()),
            ("expires_at", referral.expires_at.into()),
            ("ended_seq", ended_seq.into()),
            ("ended_at", ended_at.into()),
            ("qualifying_seq", qualifying.into()),
            ("referrer_reward_seq", referrer_reward.into()),
            ("referee_reward_seq", referee_reward.into()),
        ],
    }
}
