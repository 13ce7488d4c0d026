//! Shows the difference between two versions of a program, line by line.

use similar::{ChangeTag, TextDiff};

use super::super::output::Style;

/// How many unchanged lines to show around a change.
const CONTEXT_LINES: usize = 3;

/// The unified difference of two documents. It is empty if they are equal.
pub(super) fn show(old: (&str, &str), new: (&str, &str), style: Style) -> String {
    let ((old_name, old_text), (new_name, new_text)) = (old, new);
    let difference = TextDiff::from_lines(old_text, new_text);
    let mut shown = String::new();
    for hunk in difference.unified_diff().context_radius(CONTEXT_LINES).iter_hunks() {
        if shown.is_empty() {
            shown.push_str(&style.bold(&format!("--- {old_name}\n+++ {new_name}")));
            shown.push('\n');
        }
        shown.push_str(&style.cyan(&hunk.header().to_string()));
        shown.push('\n');
        for change in hunk.iter_changes() {
            let line = change.value().trim_end_matches('\n');
            let line = match change.tag() {
                ChangeTag::Delete => style.red(&format!("-{line}")),
                ChangeTag::Insert => style.green(&format!("+{line}")),
                ChangeTag::Equal => format!(" {line}"),
            };
            shown.push_str(&line);
            shown.push('\n');
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_in_its_surroundings() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\n";
        let new = "a\nb\nc\nd\nE\nf\ng\nh\n";
        let shown = show(("version 1", old), ("version 2", new), Style::plain());
        let expected = "--- version 1\n+++ version 2\n@@ -2,7 +2,7 @@\n b\n c\n d\n-e\n+E\n f\n g\n h\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn equal_documents_have_no_difference() {
        assert_eq!(show(("a", "x\n"), ("b", "x\n"), Style::plain()), "");
    }
}
