//! Pages that are read no further than they are filled.

use futures_util::{Stream, TryStreamExt as _};

use crate::error::Defect;
use crate::paging::Fill;

/// Reads rows until a page is full: one more, so that whoever cuts it sees that another page follows. What does not fit
/// is not kept in memory.
///
/// # Errors
/// That of the first row that cannot be read.
pub(crate) async fn read_page<T, E>(
    mut rows: impl Stream<Item = Result<T, E>> + Unpin,
    bytes: impl Fn(&T) -> usize,
) -> Result<Vec<T>, E> {
    let (mut items, mut fill) = (Vec::new(), Fill::default());
    while let Some(item) = rows.try_next().await? {
        let is_full = !fill.takes(bytes(&item));
        items.push(item);
        if is_full {
            break;
        }
    }
    Ok(items)
}

/// A row of a list. It may be one that cannot be understood, such as a newer version's.
pub(crate) struct Listed<T> {
    /// Where the list goes on behind it.
    pub cursor: String,
    /// What it says.
    pub item: Result<T, Defect>,
}

impl<T> Listed<T> {
    /// How many bytes it takes in a page.
    pub(crate) fn bytes(&self, bytes: impl Fn(&T) -> usize) -> usize {
        self.item.as_ref().map_or(1, bytes)
    }
}

/// The items of a page. Rows that cannot be understood are left out, and named in the log: they keep nobody from the
/// others, and the page behind them can be asked for.
pub(crate) fn leave_out_unreadable<T>(rows: Vec<Listed<T>>) -> Vec<T> {
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        match row.item {
            Ok(item) => items.push(item),
            Err(defect) => tracing::error!(failure = %defect, "a list leaves a row out that cannot be understood"),
        }
    }
    items
}
