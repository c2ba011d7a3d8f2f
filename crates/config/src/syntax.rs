//! What a mistake in YAML itself probably is.

/// The scanner's terse words, with what usually is behind them. `line` is where it stopped.
pub(crate) fn explain(info: &str, line: &str) -> (String, Option<&'static str>) {
    let help = if line.contains("${") && !info.contains("quoted") {
        "between `{ }` or `[ ]` a value with a variable needs quotes: `\"${NAME}\"`"
    } else if info.contains("quoted scalar, found unexpected end") || info.contains("indentation in quoted scalar") {
        "the quote that opens here is not closed, or goes on in a line that is not indented"
    } else if info.contains("mapping values are not allowed") {
        "text with `: ` in it needs quotes; for SQL write `|` and put the text on the next lines, indented"
    } else if info.contains("did not find expected key") || info.contains("invalid indentation") {
        "fields of the same map start in the same column; look at the indentation of this line and the one above"
    } else if info.contains("expected '-'") {
        "items of the same list start in the same column; look at the indentation of this line and the one above"
    } else if info.contains("expected ',' or '}'") || info.contains("expected ',' or ']'") || info.contains("bracket") {
        "a bracket is not closed, or a comma is missing"
    } else if info.contains("unknown escape") {
        "in double quotes a backslash begins an escape; write `\\\\`, or use single quotes"
    } else if info.contains("unexpected character") || info.contains("unexpected end of plain scalar") {
        "text that begins with a character special to YAML needs quotes"
    } else if info.contains("simple key expect") {
        "a line without a colon stands where `name: value` is expected"
    } else {
        return (format!("not valid YAML: {info}"), None);
    };
    (format!("not valid YAML: {info}"), Some(help))
}
