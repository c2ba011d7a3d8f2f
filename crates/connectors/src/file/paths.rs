//! Paths of the pipeline file: patterns, and what a name says about a file's content.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use millstream_core::{Error, Result};

use crate::codes::{FILE_NOT_FOUND, FILE_UNREADABLE};

/// How a file is compressed, as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}

impl Compression {
    /// What a name says.
    pub fn of(name: &str) -> Self {
        match Path::new(name).extension().and_then(OsStr::to_str) {
            Some(e) if e.eq_ignore_ascii_case("gz") => Self::Gzip,
            Some(e) if e.eq_ignore_ascii_case("zst") => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// The extension before `.gz` or `.zst`, in lower case; empty if there is none.
pub(crate) fn inner_extension(name: &str) -> String {
    let path = Path::new(name);
    let path =
        if Compression::of(name) == Compression::None { path } else { Path::new(path.file_stem().unwrap_or_default()) };
    path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase()
}

/// A file that a path or pattern of the pipeline file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// As the pipeline file would write it: relative to its folder.
    pub(crate) name: String,
    /// As this process opens it.
    pub(crate) path: PathBuf,
    /// In bytes, when it was looked at.
    pub(crate) size: u64,
}

/// Whether a path has wildcards.
pub(crate) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The files that `pattern` names, in the order of their names. A path that exists as it stands is no pattern.
///
/// # Errors
/// There are none, or a folder can't be read.
pub(crate) fn find(base: &Path, pattern: &str) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    let whole = base.join(pattern);
    match std::fs::metadata(&whole) {
        Ok(meta) if meta.is_dir() => {
            return Err(Error::new(FILE_UNREADABLE, format!("`{pattern}` is a folder, not a file"))
                .help(format!("to read the files in it, write `{}`", Path::new(pattern).join("*").display())));
        }
        Ok(meta) => found.push(Found { name: pattern.to_owned(), path: whole, size: meta.len() }),
        Err(_) if is_pattern(pattern) => {
            let parts: Vec<Component<'_>> = Path::new(pattern).components().collect();
            walk(base.to_owned(), PathBuf::new(), &parts, &mut found)?;
            found.sort_by(|a, b| a.name.cmp(&b.name));
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(unreadable(pattern, e)),
    }
    if found.is_empty() {
        return Err(missing(base, pattern));
    }
    Ok(found)
}

pub(crate) fn unreadable(name: &str, e: std::io::Error) -> Error {
    Error::new(FILE_UNREADABLE, format!("`{name}` can't be read")).because(e)
}

fn missing(base: &Path, pattern: &str) -> Error {
    let error = if is_pattern(pattern) {
        Error::new(FILE_NOT_FOUND, format!("no file matches `{pattern}`"))
    } else {
        Error::new(FILE_NOT_FOUND, format!("there is no file `{pattern}`"))
    };
    error.help(format!("paths start from the folder of the pipeline file, `{}`", shown(base)))
}

fn shown(base: &Path) -> String {
    if base.as_os_str().is_empty() { ".".to_owned() } else { base.display().to_string() }
}

fn walk(dir: PathBuf, name: PathBuf, parts: &[Component<'_>], found: &mut Vec<Found>) -> Result<()> {
    let Some((part, rest)) = parts.split_first() else {
        if let Ok(meta) = std::fs::metadata(&dir)
            && meta.is_file()
        {
            found.push(Found { name: name.to_string_lossy().into_owned(), path: dir, size: meta.len() });
        }
        return Ok(());
    };
    let text = part.as_os_str().to_string_lossy();
    if !is_pattern(&text) {
        return walk(dir.join(part), name.join(part), rest, found);
    }
    let shown = if name.as_os_str().is_empty() { ".".to_owned() } else { name.display().to_string() };
    let here = if dir.as_os_str().is_empty() { Path::new(".") } else { dir.as_path() };
    let entries = match std::fs::read_dir(here) {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => return Ok(()),
        Err(e) => return Err(unreadable(&shown, e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| unreadable(&shown, e))?.file_name();
        let candidate = entry.to_string_lossy();
        if matches(text.as_bytes(), candidate.as_bytes()) && (text.starts_with('.') || !candidate.starts_with('.')) {
            walk(dir.join(&entry), name.join(&entry), rest, found)?;
        }
    }
    Ok(())
}

/// `*` any characters, `?` one byte, `[a-z]` and `[!a-z]` one of a set; within one part of a path.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some(b'?') => Some(p + 1),
            Some(b'[') => set(&pattern[p..], name[n]).and_then(|(hit, length)| hit.then_some(p + length)),
            Some(&c) => (c == name[n]).then_some(p + 1),
            None => None,
        };
        match (step, retry) {
            (Some(next), _) => (p, n) = (next, n + 1),
            // The last `*` takes one byte more.
            (None, Some((after, from))) => {
                (p, n) = (after, from + 1);
                retry = Some((after, from + 1));
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

/// Whether `byte` is in the set that `pattern` begins with, and how long the set is. A `[` that is never closed
/// stands for itself.
fn set(pattern: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let first = if negated { 2 } else { 1 };
    let close = pattern.iter().enumerate().skip(first + 1).find(|(_, c)| **c == b']').map(|(i, _)| i);
    let Some(close) = close else { return Some((byte == b'[', 1)) };
    let members = &pattern[first..close];
    let (mut i, mut hit) = (0, false);
    while i < members.len() {
        if i + 2 < members.len() && members[i + 1] == b'-' {
            hit |= (members[i]..=members[i + 2]).contains(&byte);
            i += 3;
        } else {
            hit |= members[i] == byte;
            i += 1;
        }
    }
    Some((hit != negated, close + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match() {
        let yes = [
            ("*", "a"),
            ("*.gz", ".gz"),
            ("tx-*.json*", "tx-1.json.gz"),
            ("a?c", "abc"),
            ("[ab]x", "bx"),
            ("[!ab]x", "cx"),
            ("[a-c1]*", "1"),
            ("a*b*c", "aXbYbZc"),
            ("[x", "[x"),
            ("[]]", "]"),
        ];
        for (pattern, name) in yes {
            assert!(matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
        let no =
            [("*.gz", "a.zst"), ("a?c", "ac"), ("[ab]x", "cx"), ("[!ab]x", "ax"), ("a*b", "abc"), ("", "a"), ("?", "")];
        for (pattern, name) in no {
            assert!(!matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
    }

    #[test]
    fn files_come_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b/2.csv", "b/10.csv", "a/3.csv", "a/.hidden.csv", "a/x.txt", "lit[1].csv"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        let names = |pattern: &str| find(dir.path(), pattern).unwrap().into_iter().map(|f| f.name).collect::<Vec<_>>();
        assert_eq!(names("*/*.csv"), ["a/3.csv", "b/10.csv", "b/2.csv"]);
        assert_eq!(names("a/*"), ["a/3.csv", "a/x.txt"]);
        assert_eq!(names("a/.h*"), ["a/.hidden.csv"]);
        assert_eq!(names("lit[1].csv"), ["lit[1].csv"]);
        let absolute = dir.path().join("b/*").to_string_lossy().into_owned();
        assert_eq!(find(Path::new("elsewhere"), &absolute).unwrap().len(), 2);
        for (pattern, message) in [("*.gz", "no file matches"), ("nope.csv", "there is no file"), ("a", "is a folder")]
        {
            let error = find(dir.path(), pattern).unwrap_err();
            assert!(error.message().contains(message), "{error}");
        }
    }

    #[test]
    fn names_tell_formats() {
        assert_eq!(inner_extension("a/tx.CSV.gz"), "csv");
        assert_eq!(inner_extension("tx.ndjson"), "ndjson");
        assert_eq!(inner_extension("tx.zst"), "");
        assert_eq!(Compression::of("x.GZ"), Compression::Gzip);
    }
}
