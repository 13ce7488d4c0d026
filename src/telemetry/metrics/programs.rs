//! The names of programs as values of an attribute: the first hundred, so that nobody's programs make endless series.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::{KeyValue, StringValue};

/// How many programs have series of their own.
pub const MAX_PROGRAMS: usize = 100;
/// What stands for all others.
pub const OTHER_PROGRAMS: &str = "other";

/// The programs that have series of their own.
#[derive(Debug, Default)]
pub(super) struct Programs(Mutex<HashMap<String, Arc<str>>>);

impl Programs {
    /// The attribute of a program: its id, or `other` for those that came after the first hundred.
    pub(super) fn attribute(&self, program_id: &str) -> KeyValue {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = if let Some(name) = known.get(program_id) {
            StringValue::from(Arc::clone(name))
        } else if known.len() < MAX_PROGRAMS {
            let name: Arc<str> = Arc::from(program_id);
            known.insert(program_id.to_owned(), Arc::clone(&name));
            StringValue::from(name)
        } else {
            StringValue::from(OTHER_PROGRAMS)
        };
        KeyValue::new("goldbook.program.id", value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_beyond_the_first_hundred_are_other() {
        let programs = Programs::default();
        let value = |name: &str| programs.attribute(name).value.to_string();
        for number in 0..MAX_PROGRAMS {
            assert_eq!(value(&format!("p{number}")), format!("p{number}"));
        }
        assert_eq!([value("one-more"), value("p99"), value("p0")], ["other", "p99", "p0"]);
    }
}
