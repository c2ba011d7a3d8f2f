//! `${VAR}` and `${VAR:-default}` in string values, after parsing: what a variable holds can never become a key,
//! a list or a further field. `$${` is a literal `${`.

use std::ops::Range;

use crate::codes::VARIABLE;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::text::Text;
use crate::tree::{Node, Value};

/// The environment as it is handed in.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Puts variables into every value of a tree. A value with a variable that is not set becomes invalid.
pub(crate) fn expand(node: &mut Node, env: Env<'_>, diagnostics: &mut Diagnostics) {
    match &mut node.value {
        Value::Scalar(scalar) => {
            if !scalar.text.value.contains("${") {
                return;
            }
            match expand_text(&scalar.text, env) {
                Ok(text) => scalar.text = text,
                Err(problems) => {
                    problems.into_iter().for_each(|problem| diagnostics.push(problem));
                    node.value = Value::Invalid;
                }
            }
        }
        Value::List(items) => items.iter_mut().for_each(|item| expand(item, env, diagnostics)),
        Value::Map(entries) => entries.iter_mut().for_each(|entry| expand(&mut entry.node, env, diagnostics)),
        Value::Invalid => {}
    }
}

fn expand_text(text: &Text, env: Env<'_>) -> Result<Text, Vec<Diagnostic>> {
    let value = text.value.as_str();
    let mut built = text.rebuild();
    let mut problems = Vec::new();
    let mut at = 0;
    while let Some(found) = value.get(at..).and_then(|rest| rest.find("${")) {
        let open = at + found;
        if value.get(..open).is_some_and(|before| before.ends_with('$')) && open > at {
            built.keep(at..open - 1);
            built.replace(open - 1..open + 2, "${");
            at = open + 2;
            continue;
        }
        built.keep(at..open);
        let inner_start = open + 2;
        let Some(length) = value.get(inner_start..).and_then(|rest| rest.find('}')) else {
            problems.push(malformed(text, open..value.len(), "has no closing `}`"));
            at = value.len();
            break;
        };
        let range = open..inner_start + length + 1;
        match resolve(value.get(inner_start..inner_start + length).unwrap_or(""), env) {
            Ok(content) => built.replace(range.clone(), &content),
            Err(Problem::Unset(name)) => problems.push(unset(text, range.clone(), name)),
            Err(Problem::Malformed(what)) => problems.push(malformed(text, range.clone(), what)),
        }
        at = range.end;
    }
    built.keep(at..value.len());
    if problems.is_empty() { Ok(built.finish()) } else { Err(problems) }
}

enum Problem<'a> {
    Unset(&'a str),
    Malformed(&'static str),
}

/// The content of a variable; `inner` is what stands between the braces.
fn resolve<'a>(inner: &'a str, env: Env<'_>) -> Result<String, Problem<'a>> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(Problem::Malformed("is not the name of a variable"));
    }
    match (env(name), default) {
        // As in a shell, `:-` also stands in for an empty variable.
        (Some(content), Some(default)) if content.is_empty() => Ok(default.to_owned()),
        (Some(content), _) => Ok(content),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Problem::Unset(name)),
    }
}

fn unset(text: &Text, range: Range<usize>, name: &str) -> Diagnostic {
    Diagnostic::error(VARIABLE, text.span_of(range), format!("the environment variable `{name}` is not set"))
        .label("not set")
        .help(format!("set it, or give a default: `${{{name}:-…}}`"))
}

fn malformed(text: &Text, range: Range<usize>, what: &str) -> Diagnostic {
    let shown = crate::decode::shorten(text.value.get(range.clone()).unwrap_or(""));
    Diagnostic::error(VARIABLE, text.span_of(range), format!("`{shown}` {what}"))
        .help("write `${NAME}` or `${NAME:-default}`; a literal `${` is written `$${`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> (Node, Diagnostics) {
        let mut diagnostics = Diagnostics::new("p.yaml", text);
        let mut node = crate::tree::parse(text, &mut diagnostics).unwrap();
        let env = |name: &str| match name {
            "A" => Some("alpha: [1]".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        expand(&mut node, &env, &mut diagnostics);
        (node, diagnostics)
    }

    fn expanded(text: &str) -> String {
        let (node, diagnostics) = tree(&format!("k: {text}"));
        assert!(diagnostics.is_empty(), "{}", diagnostics.render(false));
        match &node.get("k").unwrap().value {
            Value::Scalar(scalar) => scalar.text.value.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn variables_are_put_in() {
        for (text, value) in [
            ("${A}", "alpha: [1]"),
            ("'x${A}y'", "xalpha: [1]y"),
            ("\"${A}${A}\"", "alpha: [1]alpha: [1]"),
            ("${NONE:-other}", "other"),
            ("${EMPTY:-other}", "other"),
            ("${EMPTY}", ""),
            ("${NONE:-}", ""),
            ("${NONE:-a:-b}", "a:-b"),
            ("$${A}", "${A}"),
            ("$$${A}", "$${A}"),
            ("$A and $ and {A}", "$A and $ and {A}"),
            ("${A}$", "alpha: [1]$"),
        ] {
            assert_eq!(expanded(text), value, "{text}");
        }
    }

    #[test]
    fn keys_are_left_alone() {
        let (node, diagnostics) = tree("${A}: 1");
        assert!(diagnostics.is_empty() && node.get("${A}").is_some());
    }

    #[test]
    fn what_is_wrong_is_underlined_alone() {
        for (text, underlined, message) in [
            ("k: a ${NONE} b", "${NONE}", "the environment variable `NONE` is not set"),
            ("k: \"\\n${NONE}\"", "${NONE}", "the environment variable `NONE` is not set"),
            ("k: |\n  é\n  ${NONE}", "${NONE}", "the environment variable `NONE` is not set"),
            ("k: a ${NONE", "${NONE", "`${NONE` has no closing `}`"),
            ("k: a ${} b", "${}", "`${}` is not the name of a variable"),
            ("k: a ${A B} b", "${A B}", "`${A B}` is not the name of a variable"),
            ("k: ${1}", "${1}", "`${1}` is not the name of a variable"),
        ] {
            let (_, diagnostics) = tree(text);
            let [only] = diagnostics.items() else { panic!("{text}: {diagnostics:?}") };
            assert_eq!((&text[only.span.start..only.span.end], only.message.as_str()), (underlined, message), "{text}");
        }
    }

    #[test]
    fn places_survive_and_secrets_stay_hidden() {
        let text = "k: SELECT ${A}, amout FROM t";
        let (node, _) = tree(text);
        let Value::Scalar(scalar) = &node.get("k").unwrap().value else { panic!() };
        let of = |part: &str| {
            let start = scalar.text.value.find(part).unwrap();
            let span = scalar.text.span_of(start..start + part.len());
            &text[span.start..span.end]
        };
        assert_eq!(of("amout"), "amout");
        assert_eq!(of("SELECT"), "SELECT");
        assert_eq!(of("alpha"), "${A}");
        assert_eq!(of("1], amout"), "${A}, amout");
        assert_eq!(scalar.text.shown(), "SELECT ${A}, amout FROM t");
    }
}
