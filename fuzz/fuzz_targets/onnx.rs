#![no_main]

use millstream_fuzz::load_and_predict;
use millstream_trees::Format;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| load_and_predict(bytes, Some(Format::Onnx)));
