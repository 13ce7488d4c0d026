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
    let sources: Vec<Source> =
        ["src/", "tests/", "crates/"].iter().flat_map(|folder| read_folder(folder, folder)).collect();
    let tell = |Breach { file, line, what }: &Breach| format!("{file}:{line}: `{what}`");
    let found: Vec<String> = long_names(&sources).iter().map(tell).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
