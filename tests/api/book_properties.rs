//! book_properties
