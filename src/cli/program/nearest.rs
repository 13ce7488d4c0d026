//! The word that somebody meant who wrote another one.

/// How long a word may be that is compared. No key is nearly as long.
const MAX_LENGTH: usize = 64;

/// The known word that is nearest to a written one. None if no word is near.
pub(super) fn nearest<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    if written.len() > MAX_LENGTH {
        return None;
    }
    let written = written.to_lowercase();
    let distance = |word: &str| strsim::damerau_levenshtein(&written, word);
    let nearest = known.iter().map(|word| (distance(word), *word)).min()?;
    // A third of the letters may differ: `treshold` is meant for `threshold`, and `colour` for nothing.
    let (distance, word) = nearest;
    (distance <= word.chars().count().div_ceil(3)).then_some(word)
}

/// Words in quotes as a choice: `"a", "b" or "c"`.
pub(super) fn choice(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => quoted.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_a_slip_is_taken_for_the_nearest_one() {
        let known = ["tier_id", "display_name", "threshold", "never_lost", "condition", "benefits"];
        for (written, meant) in [
            ("treshold", Some("threshold")),
            ("Threshold", Some("threshold")),
            ("thresholds", Some("threshold")),
            ("tierid", Some("tier_id")),
            ("teir_id", Some("tier_id")),
            ("displayname", Some("display_name")),
            ("benefit", Some("benefits")),
            ("colour", None),
            ("x", None),
            ("", None),
            (&"threshold".repeat(8), None),
        ] {
            assert_eq!(nearest(written, &known), meant, "{written}");
        }
        assert_eq!(nearest("points", &[]), None);
    }

    #[test]
    fn a_choice_names_all_words() {
        assert_eq!(choice(&["a"]), "\"a\"");
        assert_eq!(choice(&["a", "b", "c"]), "\"a\", \"b\" or \"c\"");
    }
}
