//! The bytes of a call before they are messages: which methods there are to call.

mod methods;

pub use methods::{Method, Methods};
