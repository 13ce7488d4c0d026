//! Closed lists of words that are stored as text. A word is the name of its variant in `snake_case`.

/// Adds to an enum how its variants are stored, by what `strum` derives of their names.
macro_rules! stored_words {
    ($name:ident) => {
        impl $name {
            /// Every word of the list, in order.
            pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

            /// The word as stored.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                self.into()
            }

            /// The reverse of [`as_str`](Self::as_str).
            #[must_use]
            pub fn from_stored(word: &str) -> Option<Self> {
                word.parse().ok()
            }
        }
    };
}

pub(crate) use stored_words;

#[cfg(test)]
mod tests {
    use crate::book::{AccountKind, Actor, EntryReason, NameSpace, Pocket};

    /// Variants may change their names. The words that rows hold must stay.
    #[test]
    fn stored_words_stay_as_they_are() {
        let pockets = ["issued", "owed", "pending", "available", "held", "redeemed", "expired", "cancelled"];
        assert!(Pocket::ALL.iter().map(|pocket| pocket.as_str()).eq(pockets));
        assert!(Actor::ALL.iter().map(|actor| actor.as_str()).eq(["caller", "rule", "time"]));
        assert!(AccountKind::ALL.iter().map(|kind| kind.as_str()).eq(["customer", "program", "pot"]));
        assert!(NameSpace::ALL.iter().map(|space| space.as_str()).eq(["program", "customer", "referral_code", "pot"]));
        let reasons = [
            "program_applied",
            "enrolment",
            "dossier_update",
            "purchase",
            "threshold_reached",
            "code_requested",
            "referral",
            "manual_conversion",
            "referral_referrer",
            "referral_referee",
            "referral_window_passed",
            "time_reached",
            "event_happened",
            "event_missed",
            "redemption",
            "hold",
            "refund",
            "debt_repayment",
            "migration",
            "fraud",
            "customer_request",
            "goodwill",
            "promotion",
            "correction",
            "other",
            "export",
            "erasure",
            "retention",
            "benefit_use",
            "reevaluation",
            "package",
            "feedback",
            "complaint",
            "lifecycle",
            "value_model",
            "value_class",
        ];
        assert!(EntryReason::ALL.iter().map(|reason| reason.as_str()).eq(reasons));
    }

    #[test]
    fn stored_words_read_back() {
        assert!(Pocket::ALL.iter().all(|pocket| Pocket::from_stored(pocket.as_str()) == Some(*pocket)));
        assert!(Actor::ALL.iter().all(|actor| Actor::from_stored(actor.as_str()) == Some(*actor)));
        assert!(AccountKind::ALL.iter().all(|kind| AccountKind::from_stored(kind.as_str()) == Some(*kind)));
        assert!(EntryReason::ALL.iter().all(|reason| EntryReason::from_stored(reason.as_str()) == Some(*reason)));
        assert_eq!(Pocket::from_stored("Issued"), None);
    }
}
