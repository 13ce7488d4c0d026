//! What can be measured, by name.

use std::fmt;

/// Something to measure. Its name stands in tables and in records, where it is not to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Workload {
    /// `GrantReward` to random customers.
    Grant,
    /// As `Grant`, at a service that asks for API keys.
    GrantKeyed,
    /// As `Grant`, at a service that measures nothing for operators.
    GrantUnmeasured,
    /// One small row per commit.
    Pgbench,
    /// `GrantReward` to one customer by all clients.
    GrantOne,
    /// `RedeemPoints` of random customers, whose lots become more while grants are measured.
    Redeem,
    /// `RedeemPoints` of customers with [few](super::grounds::FEW_LOTS) open lots.
    RedeemFew,
    /// `RedeemPoints` of customers with [many](super::grounds::MANY_LOTS) open lots.
    RedeemMany,
    /// `GetCustomerTier` of random customers.
    Tier,
    /// As `Tier`, at a service that asks for API keys.
    TierKeyed,
    /// As `Tier`, at a service with very many customers.
    TierMany,
    /// A bare tonic server.
    Echo,
    /// `RecordActivity` of purchases that change nothing but points and spend.
    Purchase,
    /// `RecordActivity` of first purchases that convert a referral, so that both sides are paid.
    Conversion,
    /// `UseBenefit` of random customers, of a benefit that has a quota.
    UseBenefit,
    /// `BatchGrantRewards` to random customers, in streams that end with the measurement.
    Stream,
    /// 200 rows per commit, into a table like that of the ledger's entries.
    Raw,
    /// As `Grant`, at a service that was started for it.
    GrantEmpty,
    /// As `Grant`, at a service whose ledger was filled.
    GrantLarge,
    /// As `Stream`, at a service that was started for it.
    StreamEmpty,
    /// As `Stream`, at a service whose ledger was filled.
    StreamLarge,
    /// `GrantReward` by one client, whose API key nobody else has, while nobody else calls.
    Quiet,
    /// As `Quiet`, while clients with another key flood the service with single calls.
    BesideCalls,
    /// As `Quiet`, while streams with another key flood it.
    BesideStreams,
    /// `SimulateTierPolicy` of all customers where there are very many.
    Simulate,
    /// `ListTierStatistics` of them.
    CountTiers,
}

/// Where a workload runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Site {
    /// The service that most is measured at.
    Main,
    /// Postgres alone, by `pgbench`.
    Postgres,
    /// The bare tonic server.
    Echo,
    /// A service with nothing in it but the customers.
    Empty,
    /// A service whose ledger was filled.
    Large,
    /// A service that asks for API keys, on the database of the main one.
    Keyed,
    /// A service whose metrics nobody gets, on the database of the main one.
    Unmeasured,
    /// The one that asks for API keys, for a caller with another key.
    OtherCaller,
    /// A service with very many customers.
    ManyCustomers,
}

impl Workload {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::GrantKeyed => "grant-keyed",
            Self::GrantUnmeasured => "grant-unmeasured",
            Self::Pgbench => "pgbench",
            Self::GrantOne => "grant-one",
            Self::Redeem => "redeem",
            Self::RedeemFew => "redeem-5",
            Self::RedeemMany => "redeem-400",
            Self::Tier => "tier",
            Self::TierKeyed => "tier-keyed",
            Self::TierMany => "tier-many",
            Self::Echo => "echo",
            Self::Purchase => "purchase",
            Self::Conversion => "conversion",
            Self::UseBenefit => "use-benefit",
            Self::Stream => "stream",
            Self::Raw => "raw-200",
            Self::GrantEmpty => "grant-empty",
            Self::GrantLarge => "grant-large",
            Self::StreamEmpty => "stream-empty",
            Self::StreamLarge => "stream-large",
            Self::Quiet => "quiet",
            Self::BesideCalls => "beside-calls",
            Self::BesideStreams => "beside-streams",
            Self::Simulate => "simulate",
            Self::CountTiers => "count-tiers",
        }
    }

    pub(super) const fn site(self) -> Site {
        match self {
            Self::Pgbench | Self::Raw => Site::Postgres,
            Self::Echo => Site::Echo,
            Self::GrantEmpty | Self::StreamEmpty => Site::Empty,
            Self::GrantLarge | Self::StreamLarge => Site::Large,
            Self::GrantKeyed | Self::TierKeyed => Site::Keyed,
            Self::GrantUnmeasured => Site::Unmeasured,
            Self::TierMany | Self::Simulate | Self::CountTiers => Site::ManyCustomers,
            Self::Quiet | Self::BesideCalls | Self::BesideStreams => Site::OtherCaller,
            Self::Grant
            | Self::GrantOne
            | Self::Redeem
            | Self::RedeemFew
            | Self::RedeemMany
            | Self::Tier
            | Self::Purchase
            | Self::Conversion
            | Self::UseBenefit
            | Self::Stream => Site::Main,
        }
    }

    /// Whether it is one way through all customers, however long that takes.
    pub(super) const fn is_walk(self) -> bool {
        matches!(self, Self::Simulate | Self::CountTiers)
    }

    /// What another caller does at the same time, with another key.
    pub(super) fn flood(self) -> Option<Self> {
        let floods = [(Self::BesideCalls, Self::GrantKeyed), (Self::BesideStreams, Self::Stream)];
        floods.into_iter().find(|(beside, _)| *beside == self).map(|(_, flood)| flood)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
