//! immutability
