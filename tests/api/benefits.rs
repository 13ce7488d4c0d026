//! benefits
