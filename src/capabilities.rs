//! The one list of capabilities: what the book keeps for each of them, and which tables there are.

use crate::book::{Capabilities, Table};
pub use crate::customers::ErasureKeys;
use crate::programs::Catalogue;
use crate::{
    access, activities, audit, benefits, book, complaints, customers, liability, lifecycle, points, programs,
    referrals, satisfaction, tiers, value,
};

/// Every capability, each one behind those whose states it reads when it is loaded. Points read programs, and stand right
/// behind them: what is read of all others then goes with what is read of points in one statement. Versions of programs
/// that are read are remembered in `catalogue`. Erased customers are known again by `erasure_keys`.
#[must_use]
pub fn capabilities(catalogue: &Catalogue, erasure_keys: ErasureKeys) -> Capabilities {
    Capabilities::new(vec![
        programs::capability(catalogue.clone()),
        points::capability(),
        customers::capability(),
        customers::erasures_capability(erasure_keys),
        referrals::capability(),
        tiers::capability(),
        tiers::reevaluations_capability(),
        benefits::capability(catalogue.clone()),
        satisfaction::capability(),
        complaints::capability(catalogue.clone()),
        complaints::goodwill_capability(),
        lifecycle::capability(),
        value::capability(),
        value::models_capability(),
        value::classes_capability(),
        activities::capability(),
        referrals::purchases_capability(),
    ])
}

/// Every table of the schema, but for the one in which migrations are recorded.
#[must_use]
pub fn tables() -> Vec<&'static Table> {
    let capabilities = capabilities(&Catalogue::default(), ErasureKeys::default());
    book::TABLES
        .iter()
        .chain(capabilities.tables())
        .chain(liability::TABLES)
        .chain(access::TABLES)
        .chain(audit::TABLES)
        .collect()
}
