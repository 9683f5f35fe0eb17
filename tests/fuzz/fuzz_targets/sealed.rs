#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| voicemesh_fuzz::sealed::run(data));
