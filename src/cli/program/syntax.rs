//! What is no TOML in a document. Lines with something of that kind are left out, so that all others can be read.

use std::collections::BTreeSet;

use toml::de::DeTable;

use super::notes::Fault;

/// In how many passes faults are looked for: what is wrong behind one may show only once that is gone.
const MAX_PASSES: usize = 50;

/// A document in which what is no TOML is blank.
pub(super) struct Mended {
    /// The document: everything that was not left out stands where it stood.
    pub(super) text: String,
    /// What is wrong with what was left out.
    pub(super) faults: Vec<Fault>,
    /// Whether something was left out, so that what it said is not known.
    pub(super) has_gaps: bool,
}

/// Leaves out the lines of a document that are no TOML. Of the header of a table the name is kept, if it can be read; if it
/// cannot, what stands below it goes with it, since it would count as of the table above.
pub(super) fn mend(text: &str) -> Mended {
    let mut mended = Mended { text: text.to_owned(), faults: Vec::new(), has_gaps: false };
    let mut told = BTreeSet::new();
    for _ in 0..MAX_PASSES {
        let mut is_open = false;
        let mut bad_lines = BTreeSet::new();
        for error in DeTable::parse_recoverable(&mended.text).1 {
            let span = error.span().unwrap_or_default();
            let line = line_start(text, span.start);
            let is_repeated = error.message() == "duplicate key";
            // Where a bracket is not closed, everything behind it counts as within: no line of it is to blame. A header
            // ends with its line.
            is_open |= error.message().starts_with("unclosed") && !is_header(text.get(line..).unwrap_or_default());
            if !is_repeated {
                bad_lines.insert(line);
            }
            if told.insert(line) {
                let name = if is_repeated {
                    format!(" {}", text.get(span.clone()).unwrap_or_default())
                } else {
                    String::new()
                };
                mended.faults.push(Fault { at: span.start, text: format!("no TOML: {}{name}", error.message()) });
            }
        }
        mended.has_gaps |= is_open || !bad_lines.is_empty();
        let without = without_lines(&mended.text, &bad_lines);
        if is_open || without == mended.text {
            break;
        }
        mended.text = without;
    }
    mended
}

/// Whether a line is meant as the header of a table.
fn is_header(line: &str) -> bool {
    line.trim_start().starts_with('[')
}

/// The header that a line means, in as many bytes; none if that is not known.
fn header_in(line: &str) -> Option<String> {
    let begin = line.trim_start();
    let name = begin.trim_start_matches('[');
    let brackets = begin.len() - name.len();
    let name =
        name.trim_start().split(|letter: char| !letter.is_ascii_alphanumeric() && !"_-.".contains(letter)).next();
    let name = name.filter(|name| !name.is_empty() && brackets <= 2)?;
    let header = format!("{}{name}{}", "[".repeat(brackets), "]".repeat(brackets));
    (header.len() <= line.len() && header != line.trim_end()).then(|| format!("{header:<width$}", width = line.len()))
}

/// Where the line begins that a byte is on.
fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end.saturating_add(1))
}

/// The text with blanks in place of lines, which are named by where they begin.
fn without_lines(text: &str, bad: &BTreeSet<usize>) -> String {
    let (mut begin, mut is_below): (usize, bool) = (0, false);
    let lines = text.split_inclusive('\n').map(|line| {
        let is_bad = bad.contains(&begin);
        begin = begin.saturating_add(line.len());
        let (said, end) = line.strip_suffix('\n').map_or((line, ""), |said| (said, "\n"));
        if is_header(said) {
            let header = if is_bad { header_in(said) } else { Some(said.to_owned()) };
            is_below = header.is_none();
            if let Some(header) = header {
                return format!("{header}{end}");
            }
        }
        if is_bad || is_below { format!("{}{end}", " ".repeat(said.len())) } else { line.to_owned() }
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> (String, Vec<usize>) {
        let Mended { text: mended, faults, .. } = mend(text);
        assert_eq!(mended.len(), text.len(), "everything stands where it stood");
        (mended, faults.iter().map(|fault| text[..fault.at].matches('\n').count() + 1).collect())
    }

    #[test]
    fn every_line_that_is_no_toml_is_found_and_no_other_is_lost() {
        let text = "a = 1\nb\nc = 200,00\n[t]\nd = \"x\ne = yes\nf = 2\nf = 3\n[[u]]\ng = 01\nh = 4\n";
        let (mended, mut found) = lines(text);
        found.sort_unstable();
        assert_eq!(found, [2, 3, 5, 6, 8, 10]);
        let kept: Vec<&str> = mended.lines().filter(|line| !line.trim().is_empty()).collect();
        assert_eq!(kept, ["a = 1", "[t]", "f = 2", "f = 3", "[[u]]", "h = 4"]);
    }

    #[test]
    fn what_stands_below_a_header_with_a_slip_is_of_no_other_table() {
        // There is room for the bracket that is missing, or none.
        let kept = |text: &str| lines(text).0.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
        assert_eq!(kept("[[t]   # a\na = 1\n[u]\nb = 2\n"), ["[[t]]", "a = 1", "[u]", "b = 2"]);
        assert_eq!(kept("[t] a = 1\nb = 2\n"), ["[t]", "b = 2"]);
        assert_eq!(kept("[t]\na = 1\n[[u]\na = 2\n[v]\na = 3\n"), ["[t]", "a = 1", "", "", "[v]", "a = 3"]);
        assert_eq!(kept("[t]\na = 1\n[[[u]]]\na = 2\n[v]\na = 3\n"), ["[t]", "a = 1", "", "", "[v]", "a = 3"]);
    }

    #[test]
    fn a_key_that_is_there_twice_leaves_nothing_out() {
        assert!(!mend("a = 1\na = 2\n").has_gaps);
        assert!(mend("a = 1\nb\n").has_gaps);
        assert!(mend("a = [1\n").has_gaps);
    }

    #[test]
    fn what_is_toml_stays_as_it_is() {
        let text = "a = '''\nb\n'''\n[t]\nc = [\n1,\n]\n";
        assert_eq!(lines(text), (text.to_owned(), Vec::new()));
    }

    #[test]
    fn a_bracket_that_is_not_closed_ends_the_search() {
        for text in ["a = [1,\n[t]\nb = 2\n", "a = { b = 1\n[t]\nc = 2\n", "[t\na = 1\n", "a = '''x\n[t]\n"] {
            assert!(!lines(text).1.is_empty(), "{text}");
        }
    }
}
