#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_fuzz::cache_file::cache_file(bytes));
