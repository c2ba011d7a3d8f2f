//! What the tools need to know of an event: its card and its number.

/// The text between `before` and the next quote.
fn quoted<'a>(line: &'a [u8], before: &[u8]) -> Option<&'a [u8]> {
    let start = line.windows(before.len()).position(|window| window == before)? + before.len();
    let length = line[start..].iter().position(|byte| *byte == b'"')?;
    Some(&line[start..start + length])
}

/// The key of an event.
pub fn card(line: &[u8]) -> Option<&[u8]> {
    quoted(line, b"\"card_id\":\"")
}

/// The number of an event: the generator's transaction ids are `t` and a number that goes up by one.
pub fn number(line: &[u8]) -> Option<usize> {
    let digits = quoted(line, b"\"transaction_id\":\"t")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
