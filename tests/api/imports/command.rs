//! `goldbook import balances`.
