//! What the targets have in common: how they are run, and how much memory they may take.

mod allocator;

pub use allocator::within_bounds;
pub use {goldbook, libfuzzer_sys};

/// A target: the function of this name. An input that is not in its form is not kept.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        $crate::libfuzzer_sys::fuzz_target!(|input: &[u8]| -> $crate::libfuzzer_sys::Corpus {
            if $crate::within_bounds(|| $crate::goldbook::fuzzing::$name(input)) {
                $crate::libfuzzer_sys::Corpus::Keep
            } else {
                $crate::libfuzzer_sys::Corpus::Reject
            }
        });
    };
}
