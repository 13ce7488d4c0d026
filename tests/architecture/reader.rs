//! Reads Rust well enough for the rules: words and signs without comments and strings, and the paths they spell.

use std::fmt;
use std::fs;
use std::path::Path;

/// Something that a rule forbids and this file may do all the same.
pub(crate) struct Exception {
    pub file: &'static str,
    pub path: &'static str,
    pub why: &'static str,
}

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Breach {
    pub file: String,
    pub line: usize,
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, what } = self;
        // Tests are named from the project's root, the source from its own.
        let root = if file.starts_with("tests/") { "" } else { "src/" };
        write!(f, "{root}{file}:{line}: `{what}`")
    }
}

/// A path that a file names, `use` trees spelt out and `super` resolved: `crate::tiers::model::lift`. A macro's ends in
/// `!`.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub line: usize,
    pub segments: Vec<String>,
    /// How many inline modules, such as `mod tests`, stand around it in its file.
    pub depth: usize,
}

impl Named {
    /// Whether the path holds these segments next to each other; `crate::…` only at its beginning.
    pub(crate) fn holds(&self, part: &str) -> bool {
        let wanted: Vec<&str> = part.split("::").collect();
        if wanted.first() == Some(&"crate") {
            return self.segments.iter().map(String::as_str).take(wanted.len()).eq(wanted);
        }
        self.segments.windows(wanted.len()).any(|window| window.iter().eq(&wanted))
    }

    pub(crate) fn text(&self) -> String {
        self.segments.join("::")
    }
}

/// A file, read.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Below `src/`, or `tests/…`.
    pub file: String,
    pub tokens: Vec<(usize, String)>,
    pub named: Vec<Named>,
}

impl Source {
    pub(crate) fn new(file: &str, text: &str) -> Self {
        let tokens = without_visibilities(tokenize(text));
        let mut reader = Reader { tokens: &tokens, depths: inline_depths(&tokens), next: 0, named: Vec::new() };
        while reader.next < tokens.len() {
            reader.read_path(&[]);
        }
        let mut named = reader.named;
        let module = module_of(file);
        for path in &mut named {
            resolve(path, &module);
        }
        Self { file: file.to_owned(), tokens, named }
    }

    /// The room or the file at the top of the source that this file belongs to.
    pub(crate) fn room(&self) -> &str {
        self.file.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    pub(crate) fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| match (place.strip_prefix("*/"), place.strip_suffix("/*")) {
            // Any file in a folder of this name.
            (Some(folder), Some(_)) => {
                let folder = folder.trim_end_matches("/*");
                self.file.split('/').rev().skip(1).any(|part| part == folder)
            }
            (Some(name), _) => self.file.rsplit('/').next() == Some(name) && self.file.contains('/'),
            (_, Some(folder)) => self.file == format!("{folder}.rs") || self.file.starts_with(&format!("{folder}/")),
            (None, None) => self.file == *place,
        })
    }

    /// Where the file names any of these and is not excepted.
    pub(crate) fn breaches(&self, forbidden: impl Fn(&Named) -> bool, exceptions: &[Exception]) -> Vec<Breach> {
        let is_excepted = |named: &Named| exceptions.iter().any(|exception| self.excepts(exception, named));
        let broken = self.named.iter().filter(|named| forbidden(named) && !is_excepted(named));
        broken.map(|named| Breach { file: self.file.clone(), line: named.line, what: named.text() }).collect()
    }

    pub(crate) fn excepts(&self, exception: &Exception, named: &Named) -> bool {
        self.file == exception.file && named.holds(exception.path)
    }
}

/// The module that a file is: `programs` for `programs/mod.rs`, `programs::grpc` for `programs/grpc.rs`.
pub(crate) fn module_of(file: &str) -> Vec<String> {
    let parts = file.trim_end_matches(".rs").split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main"));
    parts.map(str::to_owned).collect()
}

/// Spells a path from the crate's root that begins with `super`, or with the crate's name.
fn resolve(path: &mut Named, module: &[String]) {
    let climbs = path.segments.iter().take_while(|segment| *segment == "super").count();
    // Out of an inline module `super` leads to its own file first.
    let climbs_in_files = climbs.saturating_sub(path.depth);
    if climbs > 0 && climbs >= path.depth {
        let kept = module.len().saturating_sub(climbs_in_files);
        let root = std::iter::once("crate".to_owned()).chain(module[..kept].iter().cloned());
        path.segments.splice(..climbs, root);
    }
    if path.segments.first().is_some_and(|segment| segment == "goldbook") && path.segments.len() > 1 {
        path.segments.splice(..1, ["crate".to_owned()]);
    }
}

/// For each token, how many inline modules stand around it.
fn inline_depths(tokens: &[(usize, String)]) -> Vec<usize> {
    let token = |i: usize| tokens.get(i).map_or("", |(_, token)| token.as_str());
    let mut depths = Vec::with_capacity(tokens.len());
    // For each open brace, whether it opens an inline module.
    let mut open: Vec<bool> = Vec::new();
    for i in 0..tokens.len() {
        match token(i) {
            "{" => open.push(i >= 2 && token(i - 2) == "mod"),
            "}" => drop(open.pop()),
            _ => {}
        }
        depths.push(open.iter().filter(|is_module| **is_module).count());
    }
    depths
}

/// The tokens without what stands in the parentheses of `pub(super)`, which is no import.
fn without_visibilities(tokens: Vec<(usize, String)>) -> Vec<(usize, String)> {
    let mut kept: Vec<(usize, String)> = Vec::with_capacity(tokens.len());
    let mut is_inside = false;
    for (line, token) in tokens {
        if is_inside {
            is_inside = token != ")";
        } else if token == "(" && kept.last().is_some_and(|(_, last)| last == "pub") {
            is_inside = true;
        } else {
            kept.push((line, token));
        }
    }
    kept
}

/// Splits Rust into words and signs, each with its line; comments and the contents of strings are left out.
fn tokenize(text: &str) -> Vec<(usize, String)> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut tokens, mut i, mut line) = (Vec::new(), 0, 1);
    while i < chars.len() {
        let begin = i;
        let raw = raw_string_hashes(&chars, i);
        match at(i) {
            '/' if at(i + 1) == '/' => i = find(&chars, i, &['\n']),
            '/' if at(i + 1) == '*' => i = end_of_comment(&chars, i),
            _ if raw.is_some() => {
                let close: Vec<char> = std::iter::once('"').chain(vec!['#'; raw.unwrap()]).collect();
                let open = find(&chars, i, &['"']) + 1;
                i = find(&chars, open, &close) + close.len();
            }
            '"' => i = end_of_string(&chars, i),
            // A character, unless it is a lifetime or a label.
            '\'' if at(i + 1) == '\\' => i = find(&chars, i + 3, &['\'']) + 1,
            '\'' if at(i + 2) == '\'' => i += 3,
            ':' if at(i + 1) == ':' => {
                tokens.push((line, "::".to_owned()));
                i += 2;
            }
            c if is_word(c) => {
                while is_word(at(i)) {
                    i += 1;
                }
                tokens.push((line, chars[begin..i].iter().collect()));
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push((line, c.to_string()));
                }
                i += 1;
            }
        }
        i = i.min(chars.len());
        line += chars[begin..i].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// How many `#` a raw string that begins here has; none for anything else.
fn raw_string_hashes(chars: &[char], i: usize) -> Option<usize> {
    let begins_word = i == 0 || !(chars[i - 1].is_alphanumeric() || chars[i - 1] == '_');
    let prefix = [&['r'][..], &['b', 'r'], &['c', 'r']].into_iter().find(|prefix| chars[i..].starts_with(prefix))?;
    let rest = &chars[i + prefix.len()..];
    let hashes = rest.iter().take_while(|c| **c == '#').count();
    (begins_word && rest.get(hashes) == Some(&'"')).then_some(hashes)
}

fn end_of_comment(chars: &[char], begin: usize) -> usize {
    let (mut i, mut depth) = (begin, 0);
    while i < chars.len() {
        match chars[i..] {
            ['/', '*', ..] => (depth, i) = (depth + 1, i + 2),
            ['*', '/', ..] => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i
}

fn end_of_string(chars: &[char], begin: usize) -> usize {
    let mut i = begin + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn find(chars: &[char], from: usize, what: &[char]) -> usize {
    (from..chars.len()).find(|i| chars[*i..].starts_with(what)).unwrap_or(chars.len())
}

/// Reads paths off tokens.
struct Reader<'a> {
    tokens: &'a [(usize, String)],
    depths: Vec<usize>,
    next: usize,
    pub named: Vec<Named>,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> &str {
        self.tokens.get(self.next + ahead).map_or("", |(_, token)| token)
    }

    /// Reads one path that begins with `prefix`, with all branches of a `use` tree, or passes over one token.
    fn read_path(&mut self, prefix: &[String]) {
        let is_word = |token: &str| token.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let mut segments = prefix.to_vec();
        let (line, depth) = (self.tokens[self.next].0, self.depths[self.next]);
        if !is_word(self.peek(0)) {
            self.next += 1;
            return;
        }
        loop {
            segments.push(self.peek(0).to_owned());
            self.next += 1;
            if self.peek(0) != "::" {
                break;
            }
            match self.peek(1) {
                "{" => {
                    self.next += 2;
                    self.read_group(&segments);
                    return;
                }
                token if is_word(token) => self.next += 1,
                _ => break,
            }
        }
        if self.peek(0) == "!" && self.peek(1) != "=" {
            segments.last_mut().unwrap().push('!');
        }
        self.named.push(Named { line, segments, depth });
    }

    fn read_group(&mut self, prefix: &[String]) {
        while self.next < self.tokens.len() && self.peek(0) != "}" {
            if self.peek(0) == "as" {
                self.next += 2;
            } else {
                self.read_path(prefix);
            }
        }
        self.next += 1;
    }
}

pub(crate) fn read_folder(folder: &str, prefix: &str) -> Vec<Source> {
    fn visit(folder: &Path, root: &Path, prefix: &str, sources: &mut Vec<Source>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, root, prefix, sources);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let file = format!("{prefix}{}", path.strip_prefix(root).unwrap().display());
                sources.push(Source::new(&file, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut sources = Vec::new();
    visit(&root, &root, prefix, &mut sources);
    assert!(!sources.is_empty(), "nothing was read in {folder}");
    sources
}

#[test]
fn the_reader_knows_comments_strings_lines_and_use_trees() {
    let text =
        "use a::{b, c::{self, d as e}};\n'l: loop { '\\'' '\"' \"x::y\\\"\" } /* f::g */ h!(r##\"i::j\"#\"##)\nk::l";
    let named = Source::new("x.rs", text).named;
    let paths: Vec<(usize, String)> = named.iter().map(|named| (named.line, named.text())).collect();
    let expected =
        [(1, "use"), (1, "a::b"), (1, "a::c::self"), (1, "a::c::d"), (2, "l"), (2, "loop"), (2, "h!"), (3, "k::l")];
    assert_eq!(paths, expected.map(|(line, path)| (line, path.to_owned())));
}

#[test]
fn the_reader_resolves_super_from_files_and_from_inline_modules() {
    let text = "use super::a::B; mod tests { use super::*; fn f() { super::super::c() } }";
    let named = Source::new("room/part/file.rs", text).named;
    let paths: Vec<String> = named.iter().map(Named::text).filter(|path| path.starts_with("crate")).collect();
    assert_eq!(paths, ["crate::room::part::a::B", "crate::room::part::file", "crate::room::part::c"]);
}
