//! The pages of `docs/errors/`, built into the binary.

use millstream_core::Error;

use crate::args::ErrorArgs;
use crate::failure::Outcome;
use crate::{codes, output};

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// `millstream error CODE`
pub fn show(args: &ErrorArgs) -> Outcome {
    let page = find(&args.code).ok_or_else(|| {
        Error::new(codes::ARGUMENT, format!("`{}` is not an error code of this version", args.code))
            .help("codes look like `MS0701` and stand in the brackets of `error[MS0701]`")
    })?;
    output::print(page)
}

/// The page of a code; `ms701`, `0701` and `error[MS0701]` are understood too.
fn find(code: &str) -> Option<&'static str> {
    let digits: String = code.chars().filter(char::is_ascii_digit).collect();
    let id = format!("MS{digits:0>4}");
    PAGES.binary_search_by(|(known, _)| (*known).cmp(&id)).ok().and_then(|i| PAGES.get(i)).map(|(_, page)| *page)
}

/// Every code with the heading of its page, in order.
pub fn headings() -> impl Iterator<Item = (&'static str, &'static str)> {
    PAGES.iter().map(|(id, page)| {
        let heading = page.lines().next().unwrap_or("").trim_start_matches('#').trim();
        (*id, heading.strip_prefix(id).map_or(heading, |rest| rest.trim_start_matches(':').trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_page() {
        for code in codes::ALL {
            let heading = headings().find(|(id, _)| *id == code.id).map(|(_, heading)| heading);
            assert_eq!(heading, Some(code.title), "docs/errors/{}.md", code.id);
        }
    }

    #[test]
    fn codes_are_found_as_people_type_them() {
        for spelling in ["MS0701", "ms0701", "701", "error[MS0701]"] {
            assert!(find(spelling).is_some_and(|page| page.starts_with("# MS0701")), "{spelling}");
        }
        assert!(find("MS9999").is_none());
    }
}
