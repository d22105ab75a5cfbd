#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_fuzz::heads::response_head(bytes));
