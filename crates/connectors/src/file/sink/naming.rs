//! The names of what an output writes.

use std::path::{Path, PathBuf};

use millstream_core::TaskId;

use crate::env::Env;

/// The file of one task: the path itself, or with the task's number before the extension where there are several.
/// `tasks` is `None` where their number may grow: then every file is numbered.
pub(super) fn task_path(path: &str, task: TaskId, tasks: Option<u32>) -> String {
    if tasks.is_some_and(|tasks| tasks <= 1) { path.to_owned() } else { before_extension(path, &format!("-{task}")) }
}

/// A part file.
pub(super) fn part_path(path: &str, part: u64) -> String {
    before_extension(path, &format!("-{part:05}"))
}

fn before_extension(path: &str, insert: &str) -> String {
    let whole = Path::new(path);
    let stem = whole.file_stem().unwrap_or_default().to_string_lossy();
    let name = match whole.extension() {
        Some(extension) => format!("{stem}{insert}.{}", extension.to_string_lossy()),
        None => format!("{stem}{insert}"),
    };
    whole.with_file_name(name).to_string_lossy().into_owned()
}

/// The number of a part file, if `name` is one of `path`'s.
pub(super) fn part_number(path: &str, name: &str) -> Option<u64> {
    let whole = Path::new(path);
    let stem = whole.file_stem()?.to_str()?;
    let mut rest = name.strip_prefix(stem)?.strip_prefix('-')?;
    if let Some(extension) = whole.extension().and_then(|e| e.to_str()) {
        rest = rest.strip_suffix(extension)?.strip_suffix('.')?;
    }
    (rest.len() >= 5 && rest.bytes().all(|b| b.is_ascii_digit())).then(|| rest.parse().ok()).flatten()
}

/// Where rows wait for their commit. Named after the output's path as the pipeline file has it, so that the
/// pipeline's folder may be moved as a whole.
pub(in crate::file) fn staged_path(env: &Env, path: &str, suffix: &str) -> PathBuf {
    let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
    let file = format!("{name}-{:08x}{suffix}", crc32c::crc32c(path.as_bytes()));
    env.data_dir().join("staged").join(env.pipeline()).join(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(task_path("out/scores.ndjson", TaskId::new(0), Some(1)), "out/scores.ndjson");
        assert_eq!(task_path("out/scores.ndjson", TaskId::new(1), Some(2)), "out/scores-1.ndjson");
        assert_eq!(task_path("scores", TaskId::new(0), None), "scores-0");
        assert_eq!(task_path("/a.b/scores", TaskId::new(0), Some(2)), "/a.b/scores-0");
        assert_eq!(part_path("out/s.parquet", 7), "out/s-00007.parquet");
        assert_eq!(part_number("out/s.parquet", "s-00007.parquet"), Some(7));
        assert_eq!(part_number("out/s.parquet", "s-123456.parquet"), Some(123_456));
        for other in
            ["s.parquet", "s-7.parquet", "s-00007.csv", "t-00007.parquet", "s-0000x.parquet", ".s-00007.parquet"]
        {
            assert_eq!(part_number("out/s.parquet", other), None, "{other}");
        }
    }
}
