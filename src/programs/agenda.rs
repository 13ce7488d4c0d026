//! Which versions of a program are in force, and which are to begin. It is pure.

use std::fmt;

use jiff::Timestamp;

/// The most versions of a program that may be to begin.
pub(crate) const MAX_SCHEDULED: usize = 16;

/// A version, and from when on it decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// The number of the version.
    pub version: i32,
    /// The first instant at which it decides, unless one of a higher number does.
    pub effective_from: Timestamp,
}

/// The versions that are in force one after the other from some instant on: in the order of their numbers and of their
/// beginnings. The first counts from the beginning of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Agenda(Vec<Planned>);

impl fmt::Display for Agenda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, Planned { version, effective_from }) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{version} from {effective_from}")?;
        }
        Ok(())
    }
}

impl Agenda {
    /// An agenda as it is stored: its versions, and when each begins.
    #[must_use]
    pub(crate) fn new(versions: &[i32], starts: impl IntoIterator<Item = Timestamp>) -> Self {
        let planned = versions.iter().zip(starts);
        Self(planned.map(|(version, effective_from)| Planned { version: *version, effective_from }).collect())
    }

    /// The versions, in their order.
    #[must_use]
    pub(crate) fn versions(&self) -> &[Planned] {
        &self.0
    }

    /// The version in force at an instant.
    #[must_use]
    pub(crate) fn at(&self, instant: Timestamp) -> Option<Planned> {
        let begun = self.0.iter().rev().find(|planned| planned.effective_from <= instant);
        begun.or_else(|| self.0.first()).copied()
    }

    /// Whether it says what is in force at an instant: what was before its first version, it knows no more.
    #[must_use]
    pub(crate) fn covers(&self, instant: Timestamp) -> bool {
        self.0.first().is_none_or(|first| first.version == 1 || first.effective_from <= instant)
    }

    /// The version of the highest number.
    #[must_use]
    pub(crate) fn latest(&self) -> Option<Planned> {
        self.0.last().copied()
    }

    /// The versions that begin after an instant.
    pub(crate) fn scheduled_after(&self, instant: Timestamp) -> impl Iterator<Item = Planned> {
        let in_force = self.at(instant).map(|planned| planned.version);
        self.0.iter().copied().filter(move |planned| Some(planned.version) > in_force)
    }

    /// The agenda once another version is applied at an instant: what it takes the place of is gone, and so is what was
    /// in force before.
    #[must_use]
    pub(crate) fn with(&self, added: Planned, at: Timestamp) -> Self {
        let kept = self.at(at).into_iter().chain(self.scheduled_after(at));
        let kept = kept.filter(|planned| added.effective_from > at && planned.effective_from < added.effective_from);
        Self(kept.chain([added]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// An agenda of versions that were applied at instants and begin at instants, in the order of their numbers.
    fn agenda(applied: &[(i64, i64)]) -> Agenda {
        let numbered = (1..).zip(applied);
        numbered.fold(Agenda::default(), |agenda, (version, (applied_at, from))| {
            agenda.with(Planned { version, effective_from: at(*from) }, at(*applied_at))
        })
    }

    /// The rule itself: the highest number of those that have begun; the first, if none has.
    fn naive(applied: &[(i64, i64)], instant: i64) -> i32 {
        let begun = (1..).zip(applied).filter(|(_, (_, from))| *from <= instant).map(|(version, _)| version);
        begun.max().unwrap_or(1)
    }

    fn numbers(agenda: &Agenda) -> Vec<i32> {
        agenda.versions().iter().map(|planned| planned.version).collect()
    }

    #[test]
    fn a_later_version_takes_the_place_of_those_that_were_to_begin() {
        // The second is to begin at 20, the third at 30, the fourth at 25.
        let three = [(0, 0), (5, 20), (6, 30)];
        assert_eq!(numbers(&agenda(&three)), [1, 2, 3]);
        let four = [&three[..], &[(7, 25)]].concat();
        assert_eq!(numbers(&agenda(&four)), [1, 2, 4]);
        // One that is in force at once takes the place of all.
        assert_eq!(numbers(&agenda(&[&four[..], &[(8, 8)]].concat())), [5]);
        // What was in force before is gone once another one was.
        assert_eq!(numbers(&agenda(&[&four[..], &[(22, 40)]].concat())), [2, 4, 5]);
        assert_eq!(agenda(&four).scheduled_after(at(21)).map(|it| it.version).collect::<Vec<_>>(), [4]);
    }

    proptest::proptest! {
        #[test]
        fn the_agenda_says_what_the_rule_says(
            steps in proptest::collection::vec((0_i64..5, proptest::option::of(1_i64..20)), 1..12),
            ahead in 0_i64..40,
        ) {
            let (mut now, mut applied) = (0, Vec::new());
            for (pause, later) in steps {
                now += pause;
                // The first is in force at once.
                let later = later.filter(|_| !applied.is_empty()).unwrap_or(0);
                applied.push((now, now + later));
            }
            let instant = now + ahead;
            let planned = agenda(&applied).at(at(instant)).unwrap();
            proptest::prop_assert_eq!(planned.version, naive(&applied, instant));
        }
    }
}
