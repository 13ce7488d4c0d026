//! What is no TOML in a document. Lines with something of that kind are left out, so that all others can be read.

use std::collections::BTreeSet;

use toml::de::DeTable;

use super::notes::Fault;

/// In how many passes faults are looked for: what is wrong behind one may show only once that is gone.
const MAX_PASSES: usize = 50;

/// The text without its lines that are no TOML, and what is wrong with them. Everything else stands where it stood.
pub(super) fn mend(text: &str) -> (String, Vec<Fault>) {
    let mut mended = text.to_owned();
    let mut faults = Vec::new();
    let mut told = BTreeSet::new();
    for _ in 0..MAX_PASSES {
        let mut is_open = false;
        let mut bad_lines = BTreeSet::new();
        for error in DeTable::parse_recoverable(&mended).1 {
            let span = error.span().unwrap_or_default();
            let line = line_start(text, span.start);
            let is_repeated = error.message() == "duplicate key";
            // Where a bracket is not closed, everything behind it counts as within: no line of it is to blame.
            is_open |= error.message().starts_with("unclosed");
            if !is_repeated {
                bad_lines.insert(line);
            }
            if told.insert(line) {
                let name = if is_repeated {
                    format!(" {}", text.get(span.clone()).unwrap_or_default())
                } else {
                    String::new()
                };
                faults.push(Fault { at: span.start, text: format!("no TOML: {}{name}", error.message()) });
            }
        }
        if is_open || bad_lines.is_empty() {
            break;
        }
        mended = without_lines(&mended, &bad_lines);
    }
    (mended, faults)
}

/// Where the line begins that a byte is on.
fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end.saturating_add(1))
}

/// The text with blanks in place of lines, which are named by where they begin.
fn without_lines(text: &str, bad: &BTreeSet<usize>) -> String {
    let mut begin: usize = 0;
    let lines = text.split_inclusive('\n').map(|line| {
        let is_bad = bad.contains(&begin);
        begin = begin.saturating_add(line.len());
        if !is_bad {
            return line.to_owned();
        }
        let (blank, end) = line.strip_suffix('\n').map_or((line, ""), |blank| (blank, "\n"));
        format!("{}{end}", " ".repeat(blank.len()))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> (String, Vec<usize>) {
        let (mended, faults) = mend(text);
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
