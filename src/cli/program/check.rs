//! Checks documents as a whole, without a service: every mistake at once, each with its line and in the document's words.
//!
//! What a document means is judged by the service's own rules, which are pure. What they say of the program on the wire is
//! told of the lines that it was read from.

use std::path::{Path, PathBuf};

use clap::Args;
use goldbook_api::v1::Program;
use toml::de::DeTable;

use super::super::error::CliError;
use super::super::output::print;
use super::notes::{Fault, Notes};
use super::read::read_program;
use super::syntax::{Mended, mend};
use crate::programs::grpc::find_faults;

/// What `goldbook program check --help` says beside its arguments.
pub(super) const CHECK_HELP: &str = "\
Each mistake is told as FILE:LINE:COLUMN, with what the document calls the place:

  shop.toml:24:13: tiers[3] \"gold\": threshold must be above the threshold of tier silver, which comes before it
  shop.toml:31:1: campaigns[1] \"friends\": unknown key \"refere_points\"; did you mean \"referee_points\"?

The rules are those of the service of this version. What only a service can know is told by
`goldbook program apply --dry-run`: which version is current, and that currency and time zone
cannot change.

Examples:
  goldbook program check shop.toml
  goldbook program check programs/*.toml      in a hook before commits, or in CI

Exit status: 0 if every document is sound; 1 if one has mistakes; 2 if one cannot be read.";

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The documents, TOML files.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// A document that was checked.
pub(in crate::cli) struct Checked {
    /// What it means on the wire, as far as it could be read.
    pub(in crate::cli) program: Program,
    text: String,
    notes: Notes,
}

impl Checked {
    /// Reads a document from a file and checks it.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| CliError::usage(format_args!("cannot read {}: {error}", path.display())))?;
        Ok(Self::of(text))
    }

    /// The same, of one that must have no mistakes; `so_what` is told where it has some.
    ///
    /// # Errors
    /// If the file cannot be read, or has mistakes, which are all told.
    pub(in crate::cli) fn read_clean(path: &Path, so_what: &str) -> Result<Self, CliError> {
        let checked = Self::read(path)?;
        let mistakes = checked.mistakes(path);
        if mistakes.is_empty() {
            return Ok(checked);
        }
        let (count, list) = (mistakes.len(), mistakes.join("\n"));
        Err(CliError::failed(format_args!("mistakes: {count}; {so_what}\n{list}")))
    }

    pub(super) fn of(text: String) -> Self {
        let Mended { text: mended, faults, has_gaps } = mend(&text);
        let notes = Notes::begin(has_gaps);
        for Fault { at, text } in faults {
            notes.note(at, text);
        }
        // What is wrong with its syntax was noted already.
        let (document, _) = DeTable::parse_recoverable(&mended);
        let program = read_program(document.get_ref(), &notes);
        for violation in find_faults(program.clone()) {
            if let Some(place) = notes.find(&violation.field).filter(|_| notes.is_news(&violation.field)) {
                notes.note(place.at, place.says(violation.description));
            }
        }
        Self { program, text, notes }
    }

    /// Every mistake on a line of its own, in the order of the document.
    pub(super) fn mistakes(&self, path: &Path) -> Vec<String> {
        let faults = self.notes.faults().into_iter();
        faults.map(|fault| format!("{}: {}", self.position(path, fault.at), fault.text)).collect()
    }

    /// The line of a field that a service refuses, and what the document calls it. None if it stands nowhere.
    pub(super) fn name(&self, path: &Path, field: &str) -> Option<String> {
        let place = self.notes.find(field).filter(|place| !place.words().is_empty())?;
        Some(format!("{}: {}", self.position(path, place.at), place.words()))
    }

    /// A service's refusal of the document, with its lines and words for the fields.
    pub(in crate::cli) fn in_words(&self, path: &Path, error: CliError) -> CliError {
        let name = |field: &str| self.name(path, field).or_else(|| self.name(path, &format!("program.{field}")));
        match error {
            CliError::Refused { attempt, refusal } => {
                CliError::Refused { attempt, refusal: Box::new(refusal.with_fields_named(name)) }
            }
            CliError::Usage(_)
            | CliError::NotRun(_)
            | CliError::Failed(_)
            | CliError::Incomplete(_)
            | CliError::ReaderLeft => error,
        }
    }

    /// Lines and columns are counted from 1.
    fn position(&self, path: &Path, at: usize) -> String {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let (lines, last) = before
            .rsplit_once('\n')
            .map_or((0, before), |(above, last)| (above.matches('\n').count().saturating_add(1), last));
        format!("{}:{}:{}", path.display(), lines.saturating_add(1), last.chars().count().saturating_add(1))
    }
}

/// Runs `goldbook program check`.
///
/// # Errors
/// If a file cannot be read, or a document has mistakes.
pub(super) fn run(args: &CheckArgs) -> Result<(), CliError> {
    let mut unsound = 0;
    let mut count = 0;
    let mut unreadable = None;
    for file in &args.files {
        let checked = match Checked::read(file) {
            Ok(checked) => checked,
            Err(error) => {
                unreadable.get_or_insert(error);
                continue;
            }
        };
        let mistakes = checked.mistakes(file);
        if mistakes.is_empty() {
            print(format_args!("{}: the program {} is sound", file.display(), checked.program.program_id))?;
        } else {
            print(mistakes.join("\n"))?;
            unsound += 1;
            count += mistakes.len();
        }
    }
    // All others are checked before it is told.
    if let Some(error) = unreadable {
        return Err(error);
    }
    if unsound == 0 {
        return Ok(());
    }
    let of =
        if args.files.len() > 1 { format!(", in {unsound} of {} documents", args.files.len()) } else { String::new() };
    Err(CliError::Incomplete(format!("mistakes: {count}{of}")))
}

/// The program of a document whose form is sound, for trials; what it means is another matter.
#[cfg(any(test, fuzzing))]
pub(super) fn read_sound(text: &str) -> Result<Program, Vec<Fault>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let notes = Notes::begin(!errors.is_empty());
    let program = read_program(document.get_ref(), &notes);
    let faults = notes.faults();
    if errors.is_empty() && faults.is_empty() { Ok(program) } else { Err(faults) }
}

#[cfg(test)]
mod tests;
