#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_fuzz::bodies::body_parts(bytes));
