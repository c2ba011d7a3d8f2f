//! `millstream init`: a commented pipeline and a small input that run at once.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use millstream_core::Error;

use crate::args::InitArgs;
use crate::failure::{Failure, Outcome};
use crate::{codes, output};

/// What is written, by name. The pipeline comes last: where it stands, everything it needs stands too.
const FILES: &[(&str, &str)] =
    &[("payments.ndjson", include_str!("payments.ndjson")), ("pipeline.yaml", include_str!("pipeline.yaml"))];

/// Writes the files and says what to do next.
pub fn init(args: &InitArgs) -> Outcome {
    let dir = &args.dir;
    fs::create_dir_all(dir).map_err(|cause| Failure::io(format!("making the folder `{}`", dir.display()), cause))?;
    // Look first, so that a file in the way leaves nothing half done.
    if let Some((name, _)) = FILES.iter().find(|(name, _)| dir.join(name).exists()) {
        return Err(in_the_way(&dir.join(name)).into());
    }
    let mut said = String::new();
    for (name, text) in FILES {
        let path = dir.join(name);
        write_new(&path, text)?;
        said += &format!("wrote {}\n", path.display());
    }
    let file = dir.join("pipeline.yaml");
    said += &format!("\nnext: millstream run {}\n", shell_word(&file));
    output::print(said)
}

fn write_new(path: &Path, text: &str) -> Outcome {
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = opened.map_err(|cause| match cause.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::Error(in_the_way(path)),
        _ => Failure::io(format!("writing `{}`", path.display()), cause),
    })?;
    file.write_all(text.as_bytes()).map_err(|cause| Failure::io(format!("writing `{}`", path.display()), cause))
}

fn in_the_way(path: &Path) -> Error {
    Error::new(codes::FILE_EXISTS, format!("`{}` exists, and `init` overwrites nothing", path.display()))
        .help("name another folder: `millstream init my-pipeline`")
}

/// A path as one can paste it into a shell.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
