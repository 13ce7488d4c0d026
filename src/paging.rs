//! Pages of a list: how many, and where the last one ended.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{Context, SHA256};

use crate::error::{Error, Fields, Reason, Refusal};

const DEFAULT_SIZE: i64 = 50;
const MAX_SIZE: i64 = 1_000;
/// How much of a hash a token carries: of the list with its filters, and of the cursor.
const DIGEST_BYTES: usize = 8;
/// The longest token that a list makes, and more: a cursor is an id or two numbers.
const MAX_TOKEN: usize = 1_024;
/// How many bytes fill a page, whatever its size: a message is far below the 4 MiB that clients take. An item that is
/// larger is a page by itself.
pub(crate) const MAX_PAGE_BYTES: usize = 1024 * 1024;
/// How many rows a page looks at for those that its filter lets through. A page may be short, or empty, and have another
/// one behind it.
pub(crate) const WINDOW: i64 = 2_000;

/// Which page of a list a caller wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// How many items, 1 to 1,000.
    pub size: i64,
    /// The cursor of the last item of the page before; none for the first page.
    after: Option<String>,
    filters: [u8; DIGEST_BYTES],
}

impl PageRequest {
    /// Parses the page fields of a request for the list that `filters` describe. A token of another list is refused.
    ///
    /// # Errors
    /// A refusal with [`Reason::PageTokenInvalid`]. A bad size is noted in `fields`.
    pub fn parse(fields: &mut Fields, page_size: i32, page_token: &str, filters: &[&str]) -> Result<Self, Error> {
        if page_size < 0 {
            fields.refuse("page_size", "must be zero or more; zero means 50");
        }
        let size = if page_size == 0 { DEFAULT_SIZE } else { i64::from(page_size).min(MAX_SIZE) };
        let filters = digest(filters.iter().map(|filter| filter.as_bytes()));
        let after = if page_token.is_empty() { None } else { Some(decode(page_token, filters)?) };
        Ok(Self { size, after, filters })
    }

    /// The cursor as a number.
    ///
    /// # Errors
    /// A refusal with [`Reason::PageTokenInvalid`] if the token carries something else.
    pub fn after_number(&self) -> Result<Option<i64>, Error> {
        self.after_with(parse_number)
    }

    /// The cursor, parsed.
    ///
    /// # Errors
    /// A refusal with [`Reason::PageTokenInvalid`] if the token carries something else.
    pub fn after_with<T>(&self, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Error> {
        self.after.as_deref().map(|cursor| parse(cursor).ok_or_else(invalid)).transpose()
    }

    /// How many rows to ask for: one more than fit, to know whether another page follows.
    #[must_use]
    pub const fn limit(&self) -> i64 {
        self.size + 1
    }

    /// Cuts what was read to the page, and makes the token of the next one: empty if there is none.
    #[must_use]
    pub fn cut<T>(&self, items: Vec<T>, cursor: impl Fn(&T) -> String) -> (Vec<T>, String) {
        self.cut_by(items, cursor, |_| 0, None)
    }

    /// As [`cut`](Self::cut), of items that take so many bytes each: the page ends where it is full. Where the list was
    /// looked through up to `window_end` alone, another page follows behind that.
    #[must_use]
    pub fn cut_by<T>(
        &self,
        mut items: Vec<T>,
        cursor: impl Fn(&T) -> String,
        bytes: impl Fn(&T) -> usize,
        window_end: Option<String>,
    ) -> (Vec<T>, String) {
        let mut fill = Fill::default();
        let fitting = items.iter().take(usize::try_from(self.size).unwrap_or(usize::MAX));
        let count = fitting.take_while(|item| fill.takes(bytes(item))).count();
        let next = if count < items.len() {
            items.truncate(count);
            items.last().map(cursor)
        } else {
            window_end
        };
        (items, next.map(|cursor| self.token(&cursor)).unwrap_or_default())
    }

    /// The token that leads behind a cursor.
    #[must_use]
    pub fn token(&self, cursor: &str) -> String {
        let mut bytes = digest([&self.filters, cursor.as_bytes()].into_iter()).to_vec();
        bytes.extend_from_slice(cursor.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// How full a page is.
#[derive(Debug, Default)]
pub(crate) struct Fill(usize);

impl Fill {
    /// Whether an item still fits. The first always does.
    pub(crate) fn takes(&mut self, bytes: usize) -> bool {
        let is_first = self.0 == 0;
        self.0 = self.0.saturating_add(bytes.max(1));
        is_first || self.0 <= MAX_PAGE_BYTES
    }
}

/// A number of a cursor: not negative, in the form in which it was written, and with room to count on.
#[must_use]
pub(crate) fn parse_number(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    (0..i64::MAX / 2).contains(&number).then_some(number).filter(|number| number.to_string() == text)
}

fn decode(token: &str, filters: [u8; DIGEST_BYTES]) -> Result<String, Error> {
    if token.len() > MAX_TOKEN {
        return Err(invalid());
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    let (prefix, cursor) = bytes.split_at_checked(DIGEST_BYTES).ok_or_else(invalid)?;
    if prefix != digest([&filters, cursor].into_iter()) {
        return Err(invalid());
    }
    String::from_utf8(cursor.to_vec()).ok().filter(|cursor| !cursor.contains(char::is_control)).ok_or_else(invalid)
}

fn digest<'a>(parts: impl Iterator<Item = &'a [u8]>) -> [u8; DIGEST_BYTES] {
    let mut hash = Context::new(&SHA256);
    for part in parts {
        hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let full = hash.finish();
    let mut short = [0; DIGEST_BYTES];
    short.iter_mut().zip(full.as_ref()).for_each(|(slot, byte)| *slot = *byte);
    short
}

fn invalid() -> Error {
    Refusal::new(Reason::PageTokenInvalid, "the page token is not one that this list returned").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(size: i32, token: &str, filters: &[&str]) -> Result<PageRequest, Error> {
        PageRequest::parse(&mut Fields::default(), size, token, filters)
    }

    #[test]
    fn a_token_leads_to_the_page_behind_it() {
        let (items, token) = page(2, "", &["a"]).unwrap().cut(vec![1, 2, 3], ToString::to_string);
        assert_eq!(items, [1, 2]);
        assert_eq!(page(2, &token, &["a"]).unwrap().after_number().unwrap(), Some(2));
        let (items, token) = page(2, &token, &["a"]).unwrap().cut(vec![3], ToString::to_string);
        assert_eq!((items, token.as_str()), (vec![3], ""));
    }

    #[test]
    fn a_token_of_another_list_is_refused() {
        let (_, token) = page(1, "", &["a", "b"]).unwrap().cut(vec![1, 2], ToString::to_string);
        for (token, filters) in [(token.as_str(), ["ab", ""]), ("%%%", ["a", "b"]), ("AA", ["a", "b"])] {
            assert!(
                matches!(page(1, token, &filters), Err(Error::Refused(refusal)) if refusal.reason == Reason::PageTokenInvalid)
            );
        }
    }

    fn token_of(cursor: &str, filters: &[&str]) -> String {
        page(1, "", filters).unwrap().cut(vec![cursor, ""], |cursor| (*cursor).to_owned()).1
    }

    #[test]
    fn a_token_whose_cursor_was_changed_or_is_too_long_is_refused() {
        let token = token_of("12", &["a"]);
        let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        *bytes.last_mut().unwrap() = b'3';
        assert!(page(1, &token, &["a"]).is_ok());
        assert!(page(1, &URL_SAFE_NO_PAD.encode(bytes), &["a"]).is_err());
        assert!(page(1, &token_of(&"1".repeat(2_000), &["a"]), &["a"]).is_err());
    }

    #[test]
    fn a_cursor_that_is_no_number_of_a_row_is_refused() {
        for cursor in ["", "-1", "+1", "01", "1.0", "9223372036854775807", "99999999999999999999", "x"] {
            assert!(page(1, &token_of(cursor, &[]), &[]).unwrap().after_number().is_err(), "{cursor}");
        }
        assert_eq!(page(1, &token_of("0", &[]), &[]).unwrap().after_number().unwrap(), Some(0));
    }

    #[test]
    fn a_page_ends_where_it_is_full_and_holds_one_item_at_least() {
        let cut = |sizes: &[usize]| {
            let (items, token) =
                page(3, "", &[]).unwrap().cut_by(sizes.to_vec(), ToString::to_string, |size| *size, None);
            (items.len(), !token.is_empty())
        };
        assert_eq!(cut(&[MAX_PAGE_BYTES, 1]), (1, true));
        assert_eq!(cut(&[MAX_PAGE_BYTES * 9, 1]), (1, true));
        assert_eq!(cut(&[MAX_PAGE_BYTES / 2, MAX_PAGE_BYTES / 2]), (2, false));
        assert_eq!(cut(&[MAX_PAGE_BYTES / 2, MAX_PAGE_BYTES / 2, 1]), (2, true));
        assert_eq!(cut(&[1, 1, 1]), (3, false));
        assert_eq!(cut(&[1, 1, 1, 1]), (3, true));
    }

    #[test]
    fn a_page_that_looked_through_a_part_of_the_list_alone_leads_on() {
        let page = page(3, "", &[]).unwrap();
        let (items, token) = page.cut_by(Vec::<i64>::new(), ToString::to_string, |_| 1, Some("7".to_owned()));
        assert!(items.is_empty());
        let next = PageRequest::parse(&mut Fields::default(), 3, &token, &[]).unwrap();
        assert_eq!(next.after_number().unwrap(), Some(7));
    }

    #[test]
    fn sizes_have_a_default_and_a_cap() {
        assert_eq!(page(0, "", &[]).unwrap().size, 50);
        assert_eq!(page(5_000, "", &[]).unwrap().size, 1_000);
        let mut fields = Fields::default();
        PageRequest::parse(&mut fields, -1, "", &[]).unwrap();
        assert!(!fields.is_clean());
    }
}
