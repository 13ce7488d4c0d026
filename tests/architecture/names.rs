//! Names of functions, and so of tests, are short enough to be read in a list.

use crate::reader::{Breach, Source, read_folder};

/// A name has fewer characters than this.
const TOO_LONG: usize = 80;

fn long_names(sources: &[Source]) -> Vec<Breach> {
    let mut found = Vec::new();
    for source in sources {
        for pair in source.tokens.windows(2) {
            let [(_, keyword), (line, name)] = pair else { continue };
            if keyword == "fn" && name.len() >= TOO_LONG {
                found.push(Breach { file: source.file.clone(), line: *line, what: name.clone() });
            }
        }
    }
    found
}

#[test]
fn names_have_fewer_than_80_characters() {
    let name = "n".repeat(TOO_LONG);
    let long = Source::new("tests/api/tiers.rs", &format!("#[test]\nfn {name}() {{}}"));
    assert_eq!(long_names(&[long]).len(), 1, "a long name is found");
    let mut sources = read_folder("tests", "tests/");
    sources.extend(read_folder("src", ""));
    let found: Vec<String> = long_names(&sources).iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
