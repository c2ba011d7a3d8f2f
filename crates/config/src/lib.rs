//! Pipeline files: text, spanned tree, typed spec, diagnostics
