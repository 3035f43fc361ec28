#![no_main]

use bise_fuzz::readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = readers::adapter_weights(bytes);
});
