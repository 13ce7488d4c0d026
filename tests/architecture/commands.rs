//! A command decides by rules, so it stands in a pure file.

use crate::reader::{Breach, Source};
use crate::{SOURCE, hold, is_impure_place};

/// The worker's command decides nothing: its dues are applied before it.
const WITHOUT_RULES: &str = "book/worker.rs";

fn commands_in_impure_files(sources: &[Source]) -> Vec<Breach> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| is_impure_place(source) && source.file != WITHOUT_RULES) {
        let words: Vec<&str> = source.tokens.iter().map(|(_, token)| token.as_str()).collect();
        for (i, _) in words.windows(3).enumerate().filter(|(_, window)| *window == ["impl", "Command", "for"]) {
            let what = words[i..].iter().take(4).copied().collect::<Vec<_>>().join(" ");
            found.push(Breach { file: source.file.clone(), line: source.tokens[i].0, what });
        }
    }
    found
}

#[test]
fn commands_stand_in_pure_files() {
    let bad = [
        ("tiers/mod.rs", "impl Command for GiveTier { fn names(&self) {} }"),
        ("tiers/store.rs", "impl Command for GiveTier {}"),
    ];
    let good = [
        ("tiers/commands.rs", "impl Command for GiveTier {}"),
        ("tiers/mod.rs", "use crate::book::Command; // impl Command for GiveTier"),
    ];
    hold("commands stand in pure files", commands_in_impure_files, &SOURCE, &bad, &good);
}
