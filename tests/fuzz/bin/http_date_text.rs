#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_fuzz::caching::http_date_text(bytes));
