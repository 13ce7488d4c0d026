//! Closed lists of words that are stored as text. A word is the name of its variant in `snake_case`.

/// Adds to an enum how its variants are stored, by what `strum` derives of their names.
macro_rules! stored_words {
    ($name:ident) => {
        impl $name {
            /// Every word of the list, in order.
            pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

            /// The word as stored.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                self.into()
            }

            /// The reverse of [`as_str`](Self::as_str).
            #[must_use]
            pub fn from_stored(word: &str) -> Option<Self> {
                word.parse().ok()
            }
        }
    };
}

pub(crate) use stored_words;
