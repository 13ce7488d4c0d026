#![no_main]

goldbook_fuzz::target!(values);
