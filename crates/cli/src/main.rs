//! millstream
fn main() {}
