#![no_main]

goldbook_fuzz::target!(import_files);
