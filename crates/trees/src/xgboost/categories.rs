//! The categories behind the codes, which XGBoost keeps since 3.1 (`cats`).

use crate::document::At;
use crate::error::LoadError;
use crate::feature::{Categories, CategoryNames};

const CATS: &str = "learner.gradient_booster.model.cats";
const ENC: &str = "learner.gradient_booster.model.cats.enc";

/// The categories of each feature; empty if the file has none.
pub(super) fn load(model: &At<'_, '_>, features: usize) -> Result<Vec<Option<Categories>>, LoadError> {
    let Some(cats) = model.find("learner.gradient_booster.model", "cats") else { return Ok(Vec::new()) };
    let Some(enc) = cats.find(CATS, "enc") else { return Ok(Vec::new()) };
    let items = enc.list()?;
    if !items.is_empty() && items.len() != features {
        return Err(enc.malformed(format!("holds {} features, the model has {features}", items.len())));
    }
    items.iter().map(|item| feature(&At::root(item).named(ENC, None))).collect()
}

fn feature(item: &At<'_, '_>) -> Result<Option<Categories>, LoadError> {
    let values = item.get(ENC, "values")?;
    let Some(offsets) = item.find(ENC, "offsets") else {
        let numbers = values.numbers()?.f64s().map_err(|problem| values.malformed(problem))?;
        return Ok((!numbers.is_empty()).then_some(Categories::Numbers(numbers)));
    };
    // Strings as in Arrow: bytes one after another, and where each begins. UBJ has the bytes as signed numbers.
    let bytes: Vec<u8> = values.i64s()?.iter().map(|&byte| byte as u8).collect();
    let mut names = Vec::new();
    for pair in offsets.i64s()?.windows(2) {
        let range = usize::try_from(pair[0]).ok().zip(usize::try_from(pair[1]).ok());
        let name = range.and_then(|(from, to)| bytes.get(from..to)).and_then(|name| std::str::from_utf8(name).ok());
        let name =
            name.ok_or_else(|| offsets.malformed(format!("string {} is out of range or not UTF-8", names.len())))?;
        names.push(name.to_owned());
    }
    // Offsets that go back and forth could multiply a small file into much memory.
    if names.iter().map(String::len).sum::<usize>() > bytes.len() {
        return Err(offsets.malformed("the strings overlap"));
    }
    Ok((!names.is_empty()).then(|| Categories::Text(CategoryNames::new(names))))
}
