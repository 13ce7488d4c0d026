#![no_main]

goldbook_fuzz::target!(program_documents);
