//! Pages that are read no further than they are filled.

use futures_util::{Stream, TryStreamExt as _};

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
