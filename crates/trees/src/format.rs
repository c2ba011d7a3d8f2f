//! Which format a file has, told by its first bytes.

use crate::error::LoadError;

/// The model formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// XGBoost, JSON.
    XgboostJson,
    /// XGBoost, Universal Binary JSON.
    XgboostUbj,
    /// LightGBM, text.
    LightgbmText,
}

impl Format {
    /// The format of a model's bytes.
    ///
    /// # Errors
    /// [`LoadError::UnknownFormat`], saying what the bytes look like.
    pub fn detect(bytes: &[u8]) -> Result<Self, LoadError> {
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
        if text.starts_with(b"tree\n") || text.starts_with(b"tree\r\n") {
            return Ok(Self::LightgbmText);
        }
        if let Some(rest) = text.strip_prefix(b"{") {
            // A UBJ key begins with the marker of its length; a JSON key with a quote.
            return Ok(match rest.first() {
                Some(b'L' | b'i' | b'U' | b'I' | b'l' | b'#') => Self::XgboostUbj,
                _ => Self::XgboostJson,
            });
        }
        Err(LoadError::UnknownFormat { seen: looks_like(bytes).to_owned() })
    }
}

fn looks_like(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "the file is empty",
        [0x80, 2..=5, ..] => "it looks like a Python pickle; save the model with the framework's own `save_model`",
        [b'C', b'B', b'M', b'1', ..] => "it looks like a CatBoost model (CBM), which is not supported",
        [b'b', b'i', b'n', b'f', ..] => "it looks like XGBoost's old binary format; save it again as JSON or UBJ",
        [0x1f, 0x8b, ..] => "it is compressed with gzip; unpack it first",
        [b'P', b'K', 3, 4, ..] => {
            "it is a ZIP archive (skops, joblib?); save the model with the framework's own `save_model`"
        }
        [0x08, 1..=20, ..] => "it looks like an ONNX model, which is not supported",
        _ => "XGBoost JSON, XGBoost UBJ and LightGBM text are",
    }
}

/// What a JSON document without a `learner` is.
pub(crate) fn foreign_json(has: impl Fn(&str) -> bool) -> String {
    if has("oblivious_trees") || has("features_info") {
        "it looks like a CatBoost JSON model, which is not supported".into()
    } else if has("tree_info") {
        "it looks like a dump of LightGBM's `dump_model`; use `save_model`, which writes text".into()
    } else {
        "JSON without a `learner`; an XGBoost model is written by `save_model`, not by `dump_model`".into()
    }
}
