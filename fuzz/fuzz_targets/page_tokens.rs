#![no_main]

goldbook_fuzz::target!(page_tokens);
