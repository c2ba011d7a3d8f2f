//! The codes of the window operator: `MS028x`.

use millstream_core::Code;

/// An event behind the watermark, refused by `late: dead_letter`.
pub const LATE_EVENT: Code = Code::new("MS0280", "late event");
/// A row that can't be placed in a window.
pub const NO_EVENT_TIME: Code = Code::new("MS0281", "row without event time");
/// A window function's result that its type can't hold.
pub const OUT_OF_RANGE: Code = Code::new("MS0282", "window result out of range");
/// A window function over a type it is not defined for.
pub const UNSUPPORTED_WINDOW: Code = Code::new("MS0283", "window function not supported for this type");
/// Columns that a window can't be computed over: a failure of Arrow itself.
pub const WINDOW_COLUMNS: Code = Code::new("MS0284", "window columns do not fit");

/// Every code of the window operator.
pub const ALL: &[Code] = &[LATE_EVENT, NO_EVENT_TIME, OUT_OF_RANGE, UNSUPPORTED_WINDOW, WINDOW_COLUMNS];
