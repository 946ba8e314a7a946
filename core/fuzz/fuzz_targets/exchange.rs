#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootyard_fuzz::run("exchange", data));
