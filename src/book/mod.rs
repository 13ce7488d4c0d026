//! Writing the book: the one path that every change takes, for one command or for five hundred.
//!
//! A [`Command`] waits in a lane. The lane takes whatever waits as one batch: load, apply dues, decide, write, reply.
//! Rules are the commands' own. What a capability keeps beyond the ledger is its [`State`]; a [`Store`] reads and writes
//! it. The book knows all three by traits alone.

pub mod account;
pub mod account_kind;
mod batch;
pub mod capability;
pub mod command;
pub mod decision;
pub mod detail;
pub mod entry;
mod fold;
pub mod grpc;
mod instants;
mod intake;
mod job;
mod key;
mod lane;
pub mod name;
mod outcome;
mod past;
pub mod projection;
mod reading;
pub mod state;
pub mod store;
mod stored_entry;
pub mod table;
mod words;
mod worker;

pub use account::{Account, Balance};
pub use account_kind::AccountKind;
pub use capability::{Capabilities, Capability, Store};
pub use command::{Command, CommandKey, KeyKind, Told, Written};
pub use decision::{Asking, Decision, DecisionError};
pub(crate) use detail::quote_wide_numbers;
pub use detail::{
    AcsiAnswers, ActivityDetail, Answered, Answers, BenefitDetail, BrandClass, ClassedCount, Classification,
    ComplaintChange, ComplaintDeadline, ComplaintDetail, ComplaintOutcome, ComplaintPriority, ComplaintState, Counts,
    CustomerDetail, Deadlines, DeliveredValue, Detail, DowngradeTime, EarningWindow, Earnings, ErasureReason,
    FactorAnswer, Facts, FeedbackChannel, Figure, GivenCounts, GoodwillDetail, Holdout, LifecycleDetail, LotPart,
    LotTerms, LoyaltyClass, Multiplied, Occasion, Outlook, OverrideForce, PointsDetail, Position, ProgramDetail,
    PurchaseParameters, ReferralDetail, RelationshipLevel, RemedyKind, SatisfactionClass, Silence, SpendParameters,
    Stage, TierDetail, TierMove, UseCounts, ValueDetail, ValueMeasure, ValueModel,
};
pub use entry::{Actor, Entry, EntryReason, NewEntry, Pocket, PocketMove};
pub use fold::Folded;
pub use instants::{ClosedSoFar, Instants, find_closed};
pub use intake::{Book, Lanes, Writer};
pub use key::Key;
pub use name::{Name, NameSpace, NameUse};
pub use past::{
    AsOf, EntryRange, Past, find_all_last_by, find_entries_in, fold, read_as_of, read_balance_at, read_head,
};
pub use projection::{Cell, Row};
pub use reading::{WithDues, apply_dues_in_memory, begin_snapshot, read_all_with_dues, read_with_dues};
pub use state::{Depth, Due, DueKind, Dues, NextDue, Scope, State, States};
pub use store::EntryRow;
pub use stored_entry::StoredEntry;
pub use table::{Table, TableRights, TableRole};
pub use worker::{DuesError, apply_all_dues, dues_lag, keep_applying_dues};

pub use crate::error::Defect;

/// The tables of the book itself.
pub const TABLES: &[Table] = store::TABLES;
