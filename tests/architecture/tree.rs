//! The repository as its files are, and how a check of it is tried.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

const LIST: &str = "src/capabilities.rs";

/// The files of the repository by their paths from its root, with their texts.
#[derive(Clone)]
pub(crate) struct Tree(pub BTreeMap<String, String>);

pub(crate) static TREE: LazyLock<Tree> = LazyLock::new(|| {
    fn visit(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = format!("{prefix}{name}");
            if matches!(path.as_str(), "target" | ".git" | ".goldbook" | ".sqlx") {
                continue;
            }
            if entry.path().is_dir() {
                visit(&entry.path(), &format!("{path}/"), files);
            } else {
                files.insert(path, fs::read_to_string(entry.path()).unwrap_or_default());
            }
        }
    }
    let mut files = BTreeMap::new();
    visit(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut files);
    Tree(files)
});

impl Tree {
    pub(crate) fn text(&self, path: &str) -> &str {
        self.0.get(path).map_or("", String::as_str)
    }

    /// The files below a folder with this ending.
    pub(crate) fn below<'a>(&'a self, folder: &'a str, ending: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let files = self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()));
        files.filter(move |(path, _)| path.starts_with(folder) && path.ends_with(ending))
    }

    /// Whether there is such a file or folder. A `*` stands for a part of a name.
    pub(crate) fn has(&self, path: &str) -> bool {
        let wanted: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        self.0.keys().any(|file| {
            let parts: Vec<&str> = file.split('/').collect();
            parts.len() >= wanted.len() && wanted.iter().zip(&parts).all(|(wanted, part)| fits(wanted, part))
        })
    }

    pub(crate) fn with(mut self, path: &str, text: &str) -> Self {
        self.0.insert(path.to_owned(), text.to_owned());
        self
    }

    pub(crate) fn without(mut self, path: &str) -> Self {
        assert!(self.0.remove(path).is_some(), "there is no {path}");
        self
    }

    pub(crate) fn replaced(mut self, path: &str, from: &str, to: &str) -> Self {
        let text = self.0.get_mut(path).unwrap();
        assert!(text.contains(from), "{path} has no {from}");
        *text = text.replace(from, to);
        self
    }

    /// The rooms of the list of capabilities, each with the function that it declares one by.
    pub(crate) fn listed(&self) -> Vec<(&str, &str)> {
        let lines = self.text(LIST).lines().map(str::trim).filter(|line| line.ends_with("),"));
        lines.filter_map(|line| line.split_once('(')?.0.split_once("::")).collect()
    }

    pub(crate) fn rooms(&self) -> BTreeSet<&str> {
        self.listed().into_iter().map(|(room, _)| room).collect()
    }

    /// The tables that stores declare, each with whether it is a projection.
    pub(crate) fn declared(&self) -> Vec<(&str, bool)> {
        let stores = self.below("src/", "/store.rs").flat_map(|(_, text)| text.split("Table").skip(1));
        let declared = stores.filter_map(|rest| {
            let is_projection = rest.starts_with("::projection(");
            let begins = ["::projection(", "::source(", "::report(", "::new(", " {"];
            let rest = begins.iter().find_map(|begin| rest.strip_prefix(begin))?.trim_start();
            let name = rest.trim_start_matches("name:").trim_start().strip_prefix('"')?.split_once('"')?.0;
            Some((name, is_projection))
        });
        declared.collect()
    }
}

pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((begin, end)) => name.len() >= begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end),
        None => pattern == name,
    }
}

/// A check: what it finds wrong in a repository.
pub(crate) type Check = fn(&Tree) -> Vec<String>;

/// The check finds nothing wrong in the repository, and something in each of the `wrong` ones.
pub(crate) fn hold(check: Check, wrong: &[Tree]) {
    for (i, tree) in wrong.iter().enumerate() {
        assert!(!check(tree).is_empty(), "the check would miss wrong repository {i}");
    }
    let found = check(&TREE);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// What stands between backticks on a page.
pub(crate) fn spans(page: &str) -> Vec<String> {
    let text = page.split_whitespace().collect::<Vec<_>>().join(" ");
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

pub(crate) fn is_path(span: &str) -> bool {
    let endings = [".rs", ".md", ".sql", ".proto", ".toml", ".sh"];
    let is_plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "_./-*{},<>".contains(c));
    is_plain && (span.contains('/') || endings.iter().any(|ending| span.ends_with(ending)))
}
