//! Imports run in no circle, neither among rooms nor among files.

use std::collections::{BTreeMap, BTreeSet};

use crate::reader::{Breach, Named, Source, module_of};
use crate::{SOURCE, hold, target};

/// Imports that lead back to where they began, by whatever way, among rooms or among files. `place_of` says which place
/// a path of a source leads into.
fn circles(
    sources: &[Source],
    own: fn(&Source) -> String,
    place_of: impl Fn(&Source, &Named) -> Option<String>,
) -> Vec<Breach> {
    let mut imports: BTreeMap<String, BTreeMap<String, (String, usize)>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !matches!(source.room(), "lib" | "main")) {
        for named in &source.named {
            if let Some(to) = place_of(source, named).filter(|to| *to != own(source)) {
                let from = imports.entry(own(source)).or_default();
                from.entry(to).or_insert_with(|| (source.file.clone(), named.line));
            }
        }
    }
    let mut found = Vec::new();
    for (from, direct) in &imports {
        for (to, (file, line)) in direct {
            let (mut seen, mut open) = (BTreeSet::from([to]), vec![to]);
            while let Some(place) = open.pop() {
                open.extend(imports.get(place).into_iter().flat_map(BTreeMap::keys).filter(|next| seen.insert(*next)));
            }
            if seen.contains(from) {
                found.push(Breach {
                    file: file.clone(), line: *line, what: format!("{from} → {to} → … → {from}")
                });
            }
        }
    }
    found
}

fn circles_of_rooms(sources: &[Source]) -> Vec<Breach> {
    circles(sources, |source| source.room().to_owned(), |_, named| target(named).map(str::to_owned))
}

#[test]
fn imports_of_rooms_form_no_circle() {
    let sources = [
        Source::new("a/mod.rs", "use crate::b::B;"),
        Source::new("b.rs", "use crate::c::C;"),
        Source::new("c.rs", "fn f() { crate::a::f() }"),
        Source::new("d.rs", "use crate::a::A;"),
    ];
    let rooms: Vec<String> = circles_of_rooms(&sources).into_iter().map(|breach| breach.file).collect();
    assert_eq!(rooms, ["a/mod.rs", "b.rs", "c.rs"], "a circle is found at each of its rooms");
    hold("imports form no circle", circles_of_rooms, &SOURCE, &[], &[("a.rs", "use crate::b;")]);
}

/// Circles of files. Tests beside the code are left out.
fn circles_of_files(sources: &[Source]) -> Vec<Breach> {
    let modules: BTreeMap<Vec<String>, String> =
        sources.iter().map(|source| (module_of(&source.file), source.file.clone())).collect();
    let file_of = |path: &[String]| (1..=path.len()).rev().find_map(|length| modules.get(&path[..length]).cloned());
    let place_of = |source: &Source, named: &Named| {
        if named.depth > 0 {
            return None;
        }
        match named.segments.split_first() {
            Some((top, path)) if top == "crate" => file_of(path),
            // A path that begins with a module of the file's own.
            Some((child, _)) => {
                let mut path = module_of(&source.file);
                path.push(child.clone());
                modules.get(&path).filter(|_| named.segments.len() > 1).cloned()
            }
            None => None,
        }
    };
    let files: Vec<Source> = sources.iter().filter(|source| !source.file.contains("tests")).cloned().collect();
    circles(&files, |source| source.file.clone(), place_of)
}

#[test]
fn imports_of_files_form_no_circle() {
    let sources = [
        Source::new("a/mod.rs", "mod b; mod c; pub use b::B;"),
        Source::new("a/b.rs", "use super::c::C; mod tests { use super::super::c; }"),
        Source::new("a/c.rs", "fn f() { crate::a::f() }"),
        Source::new("d.rs", "use crate::a::A;"),
    ];
    let files: Vec<String> = circles_of_files(&sources).into_iter().map(|breach| breach.file).collect();
    assert_eq!(files, ["a/b.rs", "a/c.rs", "a/mod.rs"], "a circle is found at each of its files");
    let apart = [Source::new("a/mod.rs", "mod b; pub use b::B;"), Source::new("a/b.rs", "use super::super::d::D;")];
    assert_eq!(circles_of_files(&apart), []);
    hold("imports of files form no circle", circles_of_files, &SOURCE, &[], &[]);
}
