//! Where a customer's points are.

use goldbook::proto;

use crate::harness::Service;

/// How many points are in each pocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pockets {
    pub pending: i64,
    pub available: i64,
    pub held: i64,
    pub redeemed: i64,
    pub expired: i64,
    pub cancelled: i64,
    pub owed: i64,
}

impl Pockets {
    pub(crate) const NONE: Self =
        Self { pending: 0, available: 0, held: 0, redeemed: 0, expired: 0, cancelled: 0, owed: 0 };

    pub(crate) const fn of(balance: &proto::Balance) -> Self {
        let proto::Balance { pending, available, held, redeemed, expired, cancelled, owed, .. } = *balance;
        Self { pending, available, held, redeemed, expired, cancelled, owed }
    }
}

impl Service {
    /// Anna's points; they are conserved.
    pub(crate) async fn pockets(&self) -> Pockets {
        let balance = self.balance("anna").await;
        let pockets = Pockets::of(&balance);
        let Pockets { pending, available, held, redeemed, expired, cancelled, owed } = pockets;
        let counts = [pending, available, held, redeemed, expired, cancelled];
        let sum = |counts: &[i64]| counts.iter().map(|count| i128::from(*count)).sum::<i128>();
        assert_eq!(sum(&[balance.issued, owed]), sum(&counts));
        assert!(counts.iter().all(|count| *count >= 0) && (owed == 0 || available == 0), "{pockets:?}");
        pockets
    }
}
