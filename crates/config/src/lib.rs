//! Pipeline files: text -> spanned tree -> typed spec -> diagnostics.
//!
//! First a file is read as what was typed ([`tree`]: scalars, lists and maps with their bytes), then as what it means
//! ([`decode`]: durations are `Duration`s, words are enums, names resolve). Nothing stops at the first problem, and
//! every problem names its place. The JSON Schema and the reference come from the same tables as the reading
//! ([`spec!`]).
//!
//! Everything here is a pure function of the text and of the environment that is handed in: no file is opened, no
//! clock read, no thread started.

pub mod codes;
mod collections;
pub mod command_line;
pub mod decode;
pub mod diagnostic;
pub mod duration;
pub mod pipeline;
pub mod size;
pub mod span;
pub mod spec;
pub mod suggest;
mod syntax;
pub mod text;
pub mod tree;
mod values;
mod vars;

pub use decode::{Cx, Decode, Map, Name, OneOrMore, Whole};
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use pipeline::Pipeline;
pub use size::ByteSize;
pub use span::{Span, Spanned};
pub use spec::{FieldDoc, Fields, Presence, Spec};
pub use text::Text;
