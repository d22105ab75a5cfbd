#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_fuzz::guard::proxy_header(bytes));
