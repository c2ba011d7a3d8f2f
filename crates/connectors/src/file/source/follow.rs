//! Following a file that grows: noticing that it was rotated or cut.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::file::paths::{Compression, Found};

use super::input::identity;

/// What became of the path that is followed, seen from the file that is open.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It still is the open file, or nothing stands there for the moment.
    Same,
    /// The open file is shorter than what was read of it.
    Cut {
        /// Its length now.
        size: u64,
    },
    /// Another file stands there, and has content: the writer has moved on.
    Rotated,
}

/// Looks at the path. `id` and `read` are the open file's identity and how far it was read.
pub(super) fn look(path: &Path, id: Option<(u64, u64)>, read: u64) -> Seen {
    let Ok(meta) = std::fs::metadata(path) else { return Seen::Same };
    if identity(&meta) != id {
        // A writer that still has the old file open writes there until the new one has content.
        return if meta.len() > 0 { Seen::Rotated } else { Seen::Same };
    }
    if meta.len() < read { Seen::Cut { size: meta.len() } } else { Seen::Same }
}

struct Sibling {
    found: Found,
    modified: SystemTime,
    id: Option<(u64, u64)>,
}

/// The files beside `path` that rotation may have made of it (`app.log.1`, `app.log-20250602`), oldest first.
fn siblings(path: &Path) -> Vec<Sibling> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => PathBuf::from("."),
    };
    let own = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == own || !name.starts_with(&own) || Compression::of(&name) != Compression::None {
            continue;
        }
        let Ok(meta) = std::fs::metadata(entry.path()) else { continue };
        if let (true, Ok(modified)) = (meta.is_file(), meta.modified()) {
            let found_file = Found { name, path: entry.path(), size: meta.len() };
            found.push(Sibling { found: found_file, modified, id: identity(&meta) });
        }
    }
    found.sort_by(|a, b| (a.modified, &a.found.name).cmp(&(b.modified, &b.found.name)));
    found
}

/// What is to be read after the file `id` was rotated away: the rotated files that are younger, then the path.
pub(super) fn after(followed: &Found, id: Option<(u64, u64)>) -> Vec<Found> {
    let siblings = siblings(&followed.path);
    let place = siblings.iter().position(|s| s.id == id).map_or(siblings.len(), |i| i + 1);
    siblings.into_iter().skip(place).map(|s| s.found).chain([followed.clone()]).collect()
}

/// Every place where the file that was followed may be now: each rotated file, with what is to be read after it.
pub(super) fn candidates(followed: &Found) -> Vec<Vec<Found>> {
    let all: Vec<Found> = siblings(&followed.path).into_iter().map(|s| s.found).chain([followed.clone()]).collect();
    (0..all.len() - 1).rev().map(|i| all[i..].to_vec()).collect()
}
