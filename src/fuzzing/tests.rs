//! Reads every input that is kept in `fuzz/corpus/`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, panic};

use tonic::Code;

use super::calls::split_line;
use super::page_tokens::{LISTS, ask, parse};
use super::*;
use crate::access::grpc::METHODS;

/// The files of a folder in `fuzz/`, or its folders.
fn below(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn inputs_of(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let inputs = below(&format!("corpus/{target}")).into_iter();
    inputs.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn every_input_that_is_kept_holds() {
    for (name, run) in TARGETS {
        let inputs = inputs_of(name);
        assert!(!inputs.is_empty(), "fuzz/corpus/{name} has no input");
        for (path, input) in inputs {
            let held = panic::catch_unwind(|| run(&input));
            assert!(held.is_ok(), "{} does not hold", path.display());
            assert!(held.unwrap(), "{} is not in the form of its target", path.display());
        }
    }
}

#[test]
fn every_method_has_a_seed_that_its_handler_accepts() {
    let seeds = seeds::all();
    let mut refused = Vec::new();
    for method in METHODS {
        let of_method =
            seeds.iter().filter_map(|(_, _, input)| split_line(input).filter(|(name, _)| *name == method.name));
        let outcomes: Vec<_> =
            of_method.map(|(_, message)| requests::send(method.path, &calls::frame(message))).collect();
        // The items of a stream have their own outcomes.
        let is_accepted = |outcome: &calls::Outcome| match &outcome.status {
            Some((Code::Unavailable, _)) => true,
            _ => String::from_utf8_lossy(&outcome.body).contains("the database is not available"),
        };
        if !outcomes.iter().any(is_accepted) {
            refused.push((method.name, outcomes));
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
}

/// With `GOLDBOOK_FUZZ_SEEDS` set they are written into the corpus as well.
#[test]
fn every_seed_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (target, name, input) in seeds::all() {
        let (_, run) = TARGETS.iter().find(|(known, _)| *known == target).unwrap();
        let held = panic::catch_unwind(|| run(&input));
        assert!(held.is_ok_and(|is_in_form| is_in_form), "the seed {name} of {target} does not hold");
        if std::env::var_os("GOLDBOOK_FUZZ_SEEDS").is_some() {
            fs::create_dir_all(folder.join(target)).unwrap();
            fs::write(folder.join(target).join(name), input).unwrap();
        }
    }
}

#[test]
fn every_target_has_its_file_and_its_corpus_and_nothing_else_has() {
    let names = |paths: Vec<PathBuf>| -> BTreeSet<String> {
        paths.iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(below("fuzz_targets")), targets);
    assert_eq!(names(below("corpus")), targets);
}

#[test]
fn every_method_has_a_request_in_the_corpus() {
    let kept: Vec<String> =
        inputs_of("requests").iter().filter_map(|(_, input)| Some(split_line(input)?.0.to_owned())).collect();
    let missing: Vec<&str> =
        METHODS.iter().map(|method| method.name).filter(|name| !kept.iter().any(|kept| kept == name)).collect();
    assert!(missing.is_empty(), "fuzz/corpus/requests has no {missing:?}");
}

#[test]
fn every_list_takes_the_tokens_that_are_made_for_it() {
    for (method, filters, request) in LISTS {
        let page = parse("", filters).unwrap();
        let cursors = ["1", "1.1", "shop", "00000000000000000000000000000001.1", "1.00000000000000000000000000000001"];
        let takes = |cursor: &&str| ask(method, request(page.token(cursor))) == Some(Code::Unavailable);
        assert!(cursors.iter().any(takes), "{method} takes no token: what is it tied to?");
        assert_eq!(ask(method, request("x".to_owned())), Some(Code::OutOfRange), "{method}");
    }
}

/// The crates of a lock file, each with its version.
fn crates_of(lock: &str) -> BTreeSet<(String, String)> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(lock)).unwrap();
    let word = |line: Option<&str>| line.unwrap().split('"').nth(1).unwrap().to_owned();
    let crates = text.split("[[package]]\n").skip(1).map(str::lines);
    crates.map(|mut lines| (word(lines.next()), word(lines.next()))).collect()
}

#[test]
fn fuzzing_tries_the_versions_that_are_shipped() {
    let (shipped, own) = (crates_of("Cargo.lock"), ["arbitrary", "goldbook-fuzz", "libfuzzer-sys"]);
    let others: Vec<_> =
        crates_of("fuzz/Cargo.lock").into_iter().filter(|(name, _)| !own.contains(&name.as_str())).collect();
    let wrong: Vec<_> = others.iter().filter(|it| !shipped.contains(it)).collect();
    let how = "cp Cargo.lock fuzz/Cargo.lock && cargo metadata --manifest-path fuzz/Cargo.toml >/dev/null";
    assert!(wrong.is_empty(), "Cargo.lock has other versions of {wrong:?}; bring them up:\n{how}");
}
