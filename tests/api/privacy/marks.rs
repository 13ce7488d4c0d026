//! Marks: texts that nothing but one field of one request says, and the search for them in whatever form they are.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// What every mark begins with: as long as a part of a language tag may be.
const STEM: &str = "qzmarkqz";
/// The same for what must be digits: so many that no hash happens to have them in a row.
const DIGITS: &str = "887766554433";

/// What one field of one request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Mark(u32);

impl Mark {
    /// The mark of this number.
    pub(super) const fn new(number: u32) -> Self {
        Self(number)
    }

    /// As a name or a sentence.
    pub(super) fn text(self) -> String {
        format!("{STEM}{:05}", self.0)
    }

    /// As a telephone number.
    pub(super) fn phone(self) -> String {
        format!("+{DIGITS}{:05}", self.0)
    }

    /// As a tag of a language.
    pub(super) fn tag(self) -> String {
        format!("en-{STEM}-{:05}", self.0)
    }
}

/// The marks that are in a text as they were sent, however its letters are written.
pub(super) fn find_marks(text: &[u8]) -> BTreeSet<Mark> {
    let text = String::from_utf8_lossy(text).to_lowercase();
    let mut marks = BTreeSet::new();
    for stem in [STEM, DIGITS] {
        for (place, _) in text.match_indices(stem) {
            let rest = text[place + stem.len()..].trim_start_matches('-');
            let number: String = rest.chars().take(5).take_while(char::is_ascii_digit).collect();
            marks.extend(number.parse().ok().map(Mark));
        }
    }
    marks
}

/// Looks for texts as they are, in hex, and in Base64 wherever they begin in what is encoded; case does not matter.
pub(super) struct Searcher {
    /// What is looked for, in lower case, by its first byte.
    patterns: Vec<Vec<Vec<u8>>>,
}

impl Searcher {
    pub(super) fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut patterns = vec![Vec::new(); 256];
        for text in texts {
            let upper = text.to_uppercase();
            let mut forms = vec![text.to_owned()];
            for written in [text, &upper] {
                forms.push(written.bytes().map(|byte| format!("{byte:02x}")).collect());
                forms.extend((0..3).map(|offset| in_base64(written, offset)));
            }
            for form in forms {
                let form = form.to_lowercase().into_bytes();
                patterns[usize::from(form[0])].push(form);
            }
        }
        Self { patterns }
    }

    /// For every mark.
    pub(super) fn for_marks() -> Self {
        Self::new([STEM, DIGITS])
    }

    /// What stands around each place where something is found, up to a few.
    pub(super) fn search(&self, content: &[u8]) -> Vec<String> {
        let content = content.to_ascii_lowercase();
        let mut found = Vec::new();
        for (place, byte) in content.iter().enumerate() {
            let is_here = |pattern: &&Vec<u8>| content[place..].starts_with(pattern);
            if self.patterns[usize::from(*byte)].iter().find(is_here).is_some() {
                let around = &content[place.saturating_sub(120)..content.len().min(place + 60)];
                found.push(String::from_utf8_lossy(around).into_owned());
            }
            if found.len() == 20 {
                break;
            }
        }
        found
    }
}

/// The Base64 letters that a text alone decides when so many bytes modulo 3 come before it.
fn in_base64(text: &str, offset: usize) -> String {
    let whole = STANDARD_NO_PAD.encode([&vec![0; offset], text.as_bytes()].concat());
    let (begin, end) = ((offset * 8).div_ceil(6), (offset + text.len()) * 8 / 6);
    whole[begin..end].to_owned()
}

#[test]
fn a_mark_is_found_in_every_form() {
    let mark = Mark::new(42);
    let hex = |text: &str| -> String { text.bytes().map(|byte| format!("{byte:02X}")).collect() };
    let searcher = Searcher::for_marks();
    for text in [mark.text(), mark.phone(), mark.tag(), mark.text().to_uppercase()] {
        assert_eq!(find_marks(format!("a {text}9").as_bytes()), [mark].into(), "{text}");
        assert_eq!(searcher.search(text.as_bytes()).len(), 1, "{text}");
        assert_eq!(searcher.search(hex(&text).as_bytes()).len(), 1, "{text}");
        for before in ["", "x", "xy", "xyz"] {
            let encoded = STANDARD_NO_PAD.encode(format!("{before}{text}yz"));
            assert_eq!(searcher.search(format!("…{encoded}…").as_bytes()).len(), 1, "{before}{text}");
        }
    }
    assert!(searcher.search(b"qzmar kqz and 8877665544").is_empty());
}
