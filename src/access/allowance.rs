//! What a principal may still do now: token buckets, and the calls that it has under way. Each service counts by itself.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::{Limits, Rate, RoleLimits};
use super::method::Kind;
use super::role::Role;
use crate::error::Error;

/// When to try again where too many calls are under way: nobody knows when one of them ends.
const CALLS_DELAY: Duration = Duration::from_millis(500);

/// What a principal may still do now, by the most generous of its roles.
#[derive(Debug)]
pub(crate) struct Allowance {
    reads: Option<DefaultDirectRateLimiter>,
    writes: Option<DefaultDirectRateLimiter>,
    items: Option<DefaultDirectRateLimiter>,
    exports: Option<DefaultDirectRateLimiter>,
    calls: Option<Arc<Semaphore>>,
}

/// The place of a call under way, where such calls are counted.
pub(crate) type CallPlace = Option<OwnedSemaphorePermit>;

impl Allowance {
    /// The allowance of a principal with these roles that has done nothing yet.
    pub(crate) fn of<'a>(roles: impl Iterator<Item = &'a Role>, limits: &Limits) -> Self {
        let roles: Vec<RoleLimits> = roles.map(|role| limits.0.get(role).cloned().unwrap_or_default()).collect();
        let bucket = |rate: fn(&RoleLimits) -> Option<Rate>| {
            let rates: Option<Vec<Rate>> = roles.iter().map(rate).collect();
            let most = rates?.into_iter().max_by_key(|rate| rate.per_second)?;
            let quota = Quota::per_second(most.per_second).allow_burst(most.burst.unwrap_or(most.per_second));
            Some(RateLimiter::direct(quota))
        };
        let calls: Option<Vec<NonZeroU32>> = roles.iter().map(|limits| limits.calls).collect();
        let calls = calls.and_then(|calls| calls.into_iter().max());
        Self {
            reads: bucket(|limits| limits.reads),
            writes: bucket(|limits| limits.writes),
            items: bucket(|limits| limits.items),
            exports: bucket(|limits| limits.exports),
            calls: calls.map(|calls| Arc::new(Semaphore::new(usize::try_from(calls.get()).unwrap_or(usize::MAX)))),
        }
    }

    const fn bucket(&self, kind: Kind) -> Option<&DefaultDirectRateLimiter> {
        match kind {
            Kind::Read => self.reads.as_ref(),
            Kind::Write => self.writes.as_ref(),
            Kind::Export => self.exports.as_ref(),
        }
    }

    /// Begins a call of this kind.
    ///
    /// # Errors
    /// [`Error::Limited`] if it is one too many.
    pub(crate) fn begin(&self, kind: Kind) -> Result<CallPlace, Error> {
        if let Some(bucket) = self.bucket(kind)
            && let Err(not_until) = bucket.check()
        {
            let retry_after = not_until.wait_time_from(DefaultClock::default().now());
            return Err(Error::Limited { what: kind.limited(), retry_after });
        }
        let Some(calls) = &self.calls else { return Ok(None) };
        let place = Arc::clone(calls).try_acquire_owned();
        let place = place.map_err(|_| Error::Limited { what: "calls under way", retry_after: CALLS_DELAY })?;
        Ok(Some(place))
    }

    /// Waits until another item of a stream may come.
    pub(crate) async fn wait_for_item(&self) {
        if let Some(items) = &self.items {
            items.until_ready().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowance(roles: &[Role], limits: &str) -> Allowance {
        Allowance::of(roles.iter(), &toml::from_str(limits).unwrap())
    }

    fn count(allowance: &Allowance, kind: Kind) -> usize {
        (0..1_000).take_while(|_| allowance.begin(kind).is_ok()).count()
    }

    #[test]
    fn a_bucket_gives_its_burst_and_tells_when_to_come_again() {
        let allowance = allowance(&[Role::Service], "[service]\nreads = { per_second = 1, burst = 7 }\n");
        assert_eq!((count(&allowance, Kind::Read), count(&allowance, Kind::Write)), (7, 1_000));
        let Err(Error::Limited { what, retry_after }) = allowance.begin(Kind::Read) else { panic!() };
        assert_eq!(what, "reads");
        assert!(retry_after > Duration::ZERO && retry_after <= Duration::from_secs(1), "{retry_after:?}");
    }

    #[test]
    fn the_most_generous_role_counts() {
        let limits = "[service]\nwrites = { per_second = 5 }\n[support]\nwrites = { per_second = 9 }\n";
        let of = |roles: &[Role]| count(&allowance(roles, limits), Kind::Write);
        assert_eq!((of(&[Role::Service]), of(&[Role::Service, Role::Support])), (5, 9));
        assert_eq!(of(&[Role::Service, Role::Manager]), 1_000);
    }

    #[test]
    fn calls_under_way_are_counted_until_they_end() {
        let allowance = allowance(&[Role::Service], "[service]\ncalls = 2\n");
        let first = allowance.begin(Kind::Read).unwrap();
        let _second = allowance.begin(Kind::Export).unwrap();
        assert!(matches!(allowance.begin(Kind::Write), Err(Error::Limited { what: "calls under way", .. })));
        drop(first);
        assert!(allowance.begin(Kind::Write).is_ok());
    }
}
