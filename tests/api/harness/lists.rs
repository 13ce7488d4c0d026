//! What every list keeps to.

use tonic::Status;

use super::answers::{assert_refused, bad_fields};

/// Reads a list to its end, page by page: each page but the last is full.
pub(crate) async fn read_pages<T, F: Future<Output = (Vec<T>, String)>>(
    page_size: usize,
    mut read: impl FnMut(String) -> F,
) -> Vec<T> {
    let mut items = Vec::new();
    let mut token = String::new();
    for _ in 0..1_000 {
        let (page, next) = read(token).await;
        let count = page.len();
        items.extend(page);
        if next.is_empty() {
            assert!(count <= page_size);
            return items;
        }
        assert_eq!(count, page_size);
        token = next;
    }
    panic!("a list without an end");
}

/// Asserts what every list refuses: a negative size, and a token that is garbage or another list's.
pub(crate) async fn assert_refuses_bad_pages<T: std::fmt::Debug, F: Future<Output = Result<T, Status>>>(
    foreign_token: &str,
    list: impl Fn(i32, String) -> F,
) {
    assert_eq!(bad_fields(&list(-1, String::new()).await.unwrap_err()), ["page_size"]);
    assert!(!foreign_token.is_empty());
    for token in ["%%%", "AA", "0", foreign_token] {
        assert_refused(list(10, token.to_owned()).await, tonic::Code::OutOfRange, "PAGE_TOKEN_INVALID");
    }
}
