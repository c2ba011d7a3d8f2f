//! Embeds the pages of `docs/errors/` as a table, so that `millstream error CODE` works without the sources.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    // Asked for now and not when this was compiled: two checkouts may share a target folder.
    let here =
        std::env::var_os("CARGO_MANIFEST_DIR").ok_or_else(|| std::io::Error::other("cargo sets CARGO_MANIFEST_DIR"))?;
    let folder = Path::new(&here).join("../../docs/errors").canonicalize()?;
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut pages: Vec<PathBuf> =
        std::fs::read_dir(&folder)?.map(|entry| entry.map(|e| e.path())).collect::<std::io::Result<_>>()?;
    pages.retain(|path| name(path).starts_with("MS") && path.extension().is_some_and(|e| e == "md"));
    pages.sort();
    let mut table = String::from("pub const PAGES: &[(&str, &str)] = &[\n");
    for path in &pages {
        println!("cargo:rerun-if-changed={}", path.display());
        let _ = writeln!(table, "    ({:?}, include_str!({:?})),", name(path), path.display().to_string());
    }
    table.push_str("];\n");
    let out = std::env::var_os("OUT_DIR").ok_or_else(|| std::io::Error::other("cargo sets OUT_DIR"))?;
    std::fs::write(Path::new(&out).join("pages.rs"), table)
}

fn name(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}
