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
    /// CatBoost, binary (CBM).
    CatboostCbm,
    /// CatBoost, JSON.
    CatboostJson,
    /// ONNX: tree ensembles, with what converters put around them.
    Onnx,
}

impl Format {
    /// All of them, each with the name that it goes by where people write it, and what it is.
    pub const NAMES: [(Self, &str, &str); 6] = [
        (Self::XgboostJson, "xgboost_json", "XGBoost, JSON"),
        (Self::XgboostUbj, "xgboost_ubj", "XGBoost, Universal Binary JSON"),
        (Self::LightgbmText, "lightgbm_text", "LightGBM, text"),
        (Self::CatboostCbm, "catboost_cbm", "CatBoost, binary"),
        (Self::CatboostJson, "catboost_json", "CatBoost, JSON"),
        (Self::Onnx, "onnx", "ONNX"),
    ];

    /// The format of a model's bytes.
    ///
    /// # Errors
    /// [`LoadError::UnknownFormat`], saying what the bytes look like.
    pub fn detect(bytes: &[u8]) -> Result<Self, LoadError> {
        if bytes.starts_with(b"CBM1") {
            return Ok(Self::CatboostCbm);
        }
        if crate::onnx::looks_like_onnx(bytes) {
            return Ok(Self::Onnx);
        }
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
        if text.starts_with(b"tree\n") || text.starts_with(b"tree\r\n") {
            return Ok(Self::LightgbmText);
        }
        if let Some(rest) = text.strip_prefix(b"{") {
            // A UBJ key begins with the marker of its length; a JSON key with a quote.
            return Ok(match rest.first() {
                Some(b'L' | b'i' | b'U' | b'I' | b'l' | b'#') => Self::XgboostUbj,
                _ if is_catboost(text) => Self::CatboostJson,
                _ => Self::XgboostJson,
            });
        }
        Err(LoadError::UnknownFormat { seen: looks_like(bytes).to_owned() })
    }
}

/// Keys at the top of a document that only CatBoost writes.
const CATBOOST_KEYS: [&[u8]; 5] = [b"features_info", b"oblivious_trees", b"model_info", b"ctr_data", b"scale_and_bias"];

/// Whether one of the outermost keys of a JSON document is CatBoost's. Ends at the first key that tells.
fn is_catboost(text: &[u8]) -> bool {
    let (mut depth, mut at) = (0u32, 0);
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => depth = depth.saturating_add(1),
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let start = at;
                while text.get(at).is_some_and(|&byte| byte != b'"') {
                    at += if text.get(at) == Some(&b'\\') { 2 } else { 1 };
                }
                let key = text.get(start..at).unwrap_or_default();
                at += 1;
                if depth == 1 && (key == b"learner" || CATBOOST_KEYS.contains(&key)) {
                    return key != b"learner";
                }
            }
            _ => {}
        }
    }
    false
}

fn looks_like(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "the file is empty",
        [0x80, 2..=5, ..] => "it looks like a Python pickle; save the model with the framework's own `save_model`",
        [b'b', b'i', b'n', b'f', ..] => "it looks like XGBoost's old binary format; save it again as JSON or UBJ",
        [0x1f, 0x8b, ..] => "it is compressed with gzip; unpack it first",
        [b'P', b'K', 3, 4, ..] => {
            "it is a ZIP archive (skops, joblib?); save the model with the framework's own `save_model`"
        }
        _ => "XGBoost JSON, XGBoost UBJ, LightGBM text, CatBoost CBM, CatBoost JSON and ONNX are",
    }
}

/// What a JSON document without a `learner` is.
pub(crate) fn foreign_json(has: impl Fn(&str) -> bool) -> String {
    if has("oblivious_trees") || has("features_info") {
        "it looks like a CatBoost JSON model".into()
    } else if has("learner") {
        "it looks like an XGBoost model".into()
    } else if has("tree_info") {
        "it looks like a dump of LightGBM's `dump_model`; use `save_model`, which writes text".into()
    } else {
        "JSON without a `learner`; an XGBoost model is written by `save_model`, not by `dump_model`".into()
    }
}
