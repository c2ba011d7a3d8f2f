//! Names of topics, and patterns for them.

use millstream_config::{Cx, Diagnostic, Spanned};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use crate::codes::BAD_OPTION;

/// Kafka's bound.
const NAME_LENGTH_MAX: usize = 249;
/// Topics that Kafka keeps for itself.
const INTERNAL: [&str; 4] = ["__consumer_offsets", "__transaction_state", "__share_group_state", "__cluster_metadata"];

/// Why a name can't be that of a topic.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() {
        return Err("it is empty".to_owned());
    }
    if name.len() > NAME_LENGTH_MAX {
        return Err(format!("it has {} characters, and Kafka allows {NAME_LENGTH_MAX}", name.len()));
    }
    if let Some(bad) = name.chars().find(|&c| !good(c)) {
        return Err(format!("it has `{bad}`, and Kafka allows A-Z a-z 0-9 `.` `_` `-`"));
    }
    if matches!(name, "." | "..") {
        return Err("Kafka does not allow it".to_owned());
    }
    if INTERNAL.contains(&name) {
        return Err("Kafka keeps it for itself".to_owned());
    }
    Ok(())
}

/// Whether a topic can have this name; says so if not.
pub(super) fn check_topic(topic: &Spanned<String>, cx: &mut Cx) -> Option<()> {
    let Err(why) = check_name(&topic.value) else { return Some(()) };
    let message = format!("`{}` can't be the name of a topic: {why}", topic.value);
    let mut diagnostic = Diagnostic::error(BAD_OPTION, topic.span, message);
    if topic.value.contains(['*', '+', '[', '(', '|', '^', '$']) {
        diagnostic = diagnostic.help("for all topics whose names match, write `pattern:` in a source");
    }
    cx.push(diagnostic);
    None
}

/// Whether librdkafka can read a pattern; says so if not.
pub(super) fn check_pattern(pattern: &Spanned<String>, cx: &mut Cx) -> Option<()> {
    // The list of topics to ignore is made of the same patterns, and is compiled when it is set.
    let mut config = ClientConfig::new();
    config.set("topic.blacklist", format!("^({})$", without_commas(&pattern.value)));
    let Err(error) = config.create_native_config() else { return Some(()) };
    let why = match &error {
        KafkaError::ClientConfig(_, why, ..) => why.rsplit_once("\": ").map_or(why.as_str(), |(_, why)| why),
        _ => "librdkafka can't read it",
    };
    let message = format!("`{}` is not a pattern: {}", pattern.value, lower(why));
    let help = "it is a POSIX extended regular expression for a topic's whole name: `tx-.*`, `(eu|us)-payments`";
    cx.push(Diagnostic::error(BAD_OPTION, pattern.span, message).help(help));
    None
}

/// The same pattern to a compiler, without commas, which divide the list it is tried in: `{2,4}` becomes `{2}`, and
/// others stand for themselves.
fn without_commas(pattern: &str) -> String {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(at) = rest.find(',') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        out.push_str(before);
        let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
        let opened = before.rsplit_once('{').is_some_and(|(_, low)| !low.is_empty() && digits(low));
        match after.split_once('}') {
            Some((high, _)) if opened && digits(high) => rest = &after[high.len()..],
            _ => {
                out.push(';');
                rest = after;
            }
        }
    }
    out + rest
}

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().collect::<String>() + chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_go() {
        for (pattern, tried) in [("a{2,4}b", "a{2}b"), ("a{2,}", "a{2}"), ("a,b{x,3}", "a;b{x;3}"), ("tx-.*", "tx-.*")]
        {
            assert_eq!(without_commas(pattern), tried);
        }
    }

    #[test]
    fn names() {
        for good in ["a", "payments.eu_1-x", &"a".repeat(249), "__mine"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "a b", "ä", "..", "a/b", "tx-*", &"a".repeat(250), "__consumer_offsets"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
