//! Pages of a list: how many, and where the last one ended.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{Context, SHA256};

use crate::error::{Error, Fields, Reason, Refusal};

const DEFAULT_SIZE: i64 = 50;
const MAX_SIZE: i64 = 1_000;
/// How much of the hash of the filters a token carries.
const FILTER_BYTES: usize = 8;

/// Which page of a list a caller wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// How many items, 1 to 1,000.
    pub size: i64,
    /// The cursor of the last item of the page before; none for the first page.
    pub after: Option<String>,
    filters: [u8; FILTER_BYTES],
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
        let filters = digest(filters);
        let after = if page_token.is_empty() { None } else { Some(decode(page_token, filters)?) };
        Ok(Self { size, after, filters })
    }

    /// The cursor as a number.
    ///
    /// # Errors
    /// A refusal with [`Reason::PageTokenInvalid`] if the token carries something else.
    pub fn after_number(&self) -> Result<Option<i64>, Error> {
        self.after.as_deref().map(str::parse).transpose().map_err(|_| invalid())
    }

    /// How many rows to ask for: one more than fit, to know whether another page follows.
    #[must_use]
    pub const fn limit(&self) -> i64 {
        self.size + 1
    }

    /// Cuts what was read to the page, and makes the token of the next one: empty if there is none.
    #[must_use]
    pub fn cut<T>(&self, mut items: Vec<T>, cursor: impl Fn(&T) -> String) -> (Vec<T>, String) {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        if items.len() <= size {
            return (items, String::new());
        }
        items.truncate(size);
        let token = items.last().map_or_else(String::new, |last| {
            let mut bytes = self.filters.to_vec();
            bytes.extend_from_slice(cursor(last).as_bytes());
            URL_SAFE_NO_PAD.encode(bytes)
        });
        (items, token)
    }
}

fn decode(token: &str, filters: [u8; FILTER_BYTES]) -> Result<String, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    let (prefix, cursor) = bytes.split_at_checked(FILTER_BYTES).ok_or_else(invalid)?;
    if prefix != filters {
        return Err(invalid());
    }
    String::from_utf8(cursor.to_vec()).ok().filter(|cursor| !cursor.contains(char::is_control)).ok_or_else(invalid)
}

fn digest(filters: &[&str]) -> [u8; FILTER_BYTES] {
    let mut hash = Context::new(&SHA256);
    for filter in filters {
        hash.update(&u64::try_from(filter.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(filter.as_bytes());
    }
    let full = hash.finish();
    let mut short = [0; FILTER_BYTES];
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

    #[test]
    fn sizes_have_a_default_and_a_cap() {
        assert_eq!(page(0, "", &[]).unwrap().size, 50);
        assert_eq!(page(5_000, "", &[]).unwrap().size, 1_000);
        let mut fields = Fields::default();
        PageRequest::parse(&mut fields, -1, "", &[]).unwrap();
        assert!(!fields.is_clean());
    }
}
