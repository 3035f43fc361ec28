//! What the fuzz targets share.

pub mod counting;
#[path = "../../tools/quantize/tests/directory/native.rs"]
mod native;
pub mod readers;
