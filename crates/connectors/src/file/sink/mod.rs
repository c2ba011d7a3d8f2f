//! The `file` sink: what a reader sees after a crash and a restart is exactly the committed rows.
//!
//! Runs on the committer's thread. Nothing of an output is touched before `recover`, which makes sure that the
//! files are those the last commit left.

mod disk;
mod lines;
mod naming;
mod parts;
mod tasks;

use millstream_core::{Receipt, Result};

pub(super) use self::disk::{lock, open, parse, read_at, receipt, unwritable, write_at};
pub(crate) use self::lines::LinesSink;
pub(super) use self::naming::staged_path;
pub(crate) use self::parts::PartsSink;
use crate::env::Env;

/// Removes what a receipt names; receipts of other kinds of outputs are left alone.
pub(crate) fn discard(env: &Env, receipt: &Receipt) -> Result<()> {
    if let Ok(lines) = serde_json::from_str::<lines::LinesReceipt>(&receipt.0) {
        lines::discard(env, &lines)
    } else if let Ok(parts) = serde_json::from_str::<parts::PartsReceipt>(&receipt.0) {
        parts::discard(env, &parts)
    } else {
        Ok(())
    }
}
