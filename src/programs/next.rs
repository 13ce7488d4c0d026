//! What the next version of a program may be. It is pure.

use std::sync::Arc;

use jiff::Timestamp;

use super::agenda::{Agenda, MAX_SCHEDULED, Planned};
use super::model::{Program, ProgramVersion};
use crate::error::{Reason, Refusal};
use crate::ids::ProgramId;

/// What is tried on all customers of a program without being applied.
#[derive(Clone, Debug)]
pub(crate) enum Tried {
    /// A document.
    Document(Box<Program>),
    /// A version of the program.
    Version(i32),
}

/// The version that comes next of a program.
#[derive(Clone, Debug)]
pub(super) struct NextVersion {
    /// Its number.
    pub(super) number: i32,
    /// The one before it, if the program is there.
    pub(super) latest: Option<Arc<ProgramVersion>>,
    agenda: Agenda,
}

/// On what terms a document is applied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// The version that must be the latest, if the caller says one.
    pub(super) expected_version: Option<i32>,
    /// When it begins; at once, if absent.
    pub(super) effective_from: Option<Timestamp>,
}

impl NextVersion {
    /// That of a program that is not there yet.
    pub(super) fn first() -> Self {
        Self { number: 1, latest: None, agenda: Agenda::default() }
    }

    /// The one behind the latest.
    pub(super) fn after(latest: Arc<ProgramVersion>, agenda: Agenda) -> Self {
        Self { number: latest.version.saturating_add(1), latest: Some(latest), agenda }
    }

    /// Whether a document that is applied at an instant is a new version, and not what the latest is already.
    ///
    /// # Errors
    /// A refusal if it is one, and may not be.
    pub(super) fn changes(&self, program: &Program, terms: Terms, at: Timestamp) -> Result<bool, Refusal> {
        let Terms { expected_version, effective_from } = terms;
        // Also where another version is expected: a call that is repeated after it succeeded has what it wants.
        let is_latest = self.latest.as_ref().is_some_and(|latest| {
            let begins = latest.effective_from;
            latest.program == *program && (begins <= at || effective_from == Some(begins))
        });
        if is_latest {
            return Ok(false);
        }
        check_expected(&program.program_id, expected_version, self.number - 1)?;
        if let Some(latest) = &self.latest {
            check_immutable(&latest.program, program)?;
        }
        if let Some(effective_from) = effective_from {
            self.check_schedule(effective_from, at)?;
        }
        Ok(true)
    }

    fn check_schedule(&self, effective_from: Timestamp, at: Timestamp) -> Result<(), Refusal> {
        if effective_from <= at {
            let refusal = Refusal::new(Reason::InstantNotAhead, format!("effective_from must be later than {at}"));
            return Err(refusal.with("effective_from", effective_from).with("after", at));
        }
        let refuse = |message: String| {
            let refusal = Refusal::new(Reason::VersionNotScheduled, message);
            Err(refusal.with("version", self.number).with("maximum", MAX_SCHEDULED))
        };
        if self.latest.is_none() {
            return refuse("the first version of a program begins at once".to_owned());
        }
        let added = Planned { version: self.number, effective_from };
        if self.agenda.with(added, at).scheduled_after(at).count() > MAX_SCHEDULED {
            return refuse(format!("{MAX_SCHEDULED} versions of the program are to begin already"));
        }
        Ok(())
    }
}

/// Refuses to put a document behind another version than the one that the caller knows.
fn check_expected(program_id: &ProgramId, expected: Option<i32>, latest: i32) -> Result<(), Refusal> {
    let Some(expected) = expected.filter(|expected| *expected != latest) else { return Ok(()) };
    let message = format!("version {latest} of the program is the latest, and not {expected}; read it and decide anew");
    let refusal = Refusal::new(Reason::ProgramVersionMismatch, message).with("program_id", program_id);
    Err(refusal.with("expected_version", expected).with("current_version", latest))
}

/// Refuses a document that changes what cannot change of a program: amounts and calendars on the ledger would change their
/// meaning.
///
/// # Errors
/// A refusal that names the field.
pub(crate) fn check_immutable(current: &Program, new: &Program) -> Result<(), Refusal> {
    let refuse = |field: &str, is: String| {
        Refusal::new(Reason::ProgramFieldImmutable, format!("the {field} of a program cannot change; it is {is}"))
            .with("field", field)
            .with("current", is)
    };
    if current.currency != new.currency {
        return Err(refuse("currency_code", current.currency.code().to_owned()));
    }
    if current.time_zone != new.time_zone {
        return Err(refuse("time_zone", current.time_zone.to_string()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::model::tests::program;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn later(effective_from: Option<i64>) -> Terms {
        Terms { expected_version: None, effective_from: effective_from.map(at) }
    }

    fn after(effective_from: i64) -> NextVersion {
        let (applied_at, effective_from) = (NOW, at(effective_from));
        let latest = ProgramVersion { program: program(), version: 3, applied_at, effective_from };
        NextVersion::after(Arc::new(latest), Agenda::new(&[3], [effective_from]))
    }

    #[test]
    fn what_the_latest_version_is_already_changes_nothing() {
        let changes =
            |next: &NextVersion, effective_from| next.changes(&program(), later(effective_from), NOW).unwrap();
        assert!(!changes(&after(0), None));
        assert!(!changes(&after(0), Some(9)));
        // One that is to begin may be brought forward, or put off.
        assert!(changes(&after(9), None));
        assert!(!changes(&after(9), Some(9)));
        assert!(changes(&after(9), Some(10)));
        let other = Program { display_name: "Other".to_owned(), ..program() };
        assert!(after(0).changes(&other, later(None), NOW).unwrap());
    }

    #[test]
    fn a_version_begins_at_once_or_ahead_and_only_behind_another() {
        let refused = |next: &NextVersion, effective_from| {
            let other = Program { display_name: "Other".to_owned(), ..program() };
            next.changes(&other, later(Some(effective_from)), NOW).map_err(|refusal| refusal.reason)
        };
        assert_eq!(refused(&after(0), 1), Ok(true));
        assert_eq!(refused(&after(0), 0), Err(Reason::InstantNotAhead));
        assert_eq!(refused(&NextVersion::first(), 1), Err(Reason::VersionNotScheduled));
        let mut next = after(0);
        let agenda = |count: i32| Agenda::new(&(0..count).collect::<Vec<_>>(), (0..count.into()).map(at));
        next.agenda = agenda(16);
        assert_eq!(refused(&next, 17), Ok(true));
        next.agenda = agenda(17);
        assert_eq!(refused(&next, 17), Err(Reason::VersionNotScheduled));
        // One that takes the place of others may be there.
        assert_eq!(refused(&next, 16), Ok(true));
    }
}
