//! From a pipeline file to a plan, for the commands that need one.

use std::io;
use std::path::Path;
use std::sync::Arc;

use millstream_config::Diagnostics;
use millstream_engine::{LoadOptions, Loaded, Overrides, Plan, load};

use crate::args::LogFormat;
use crate::failure::{Exit, Failure, Outcome};
use crate::output;

/// Reads a pipeline file with this process's environment variables.
pub fn read(path: &Path, connect: bool, overrides: Overrides) -> Outcome<Loaded> {
    let env = |name: &str| std::env::var(name).ok();
    Ok(load(path, &LoadOptions { connect, env: &env, overrides })?)
}

/// The `--data-dir` of commands that take nothing else over the file's. It starts from the current folder, not from that of
/// the pipeline file.
pub fn data_dir(data_dir: Option<&Path>) -> Overrides {
    let data_dir = data_dir.map(|dir| std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()));
    Overrides { workers: None, batch_rows_max: None, data_dir }
}

/// Reads a pipeline file and gives the plan; problems go to standard error. With `connect`, whatever the plan needs must
/// be there.
pub fn plan(path: &Path, connect: bool, overrides: Overrides, format: LogFormat, quiet: bool) -> Outcome<Arc<Plan>> {
    let loaded = read(path, connect, overrides)?;
    let errors = loaded.diagnostics.has_errors();
    if errors || !quiet {
        say(&loaded.diagnostics, format);
    }
    match loaded.plan {
        Some(plan) if !errors => Ok(plan),
        _ => {
            if format == LogFormat::Text {
                output::complain(format!("{}: {}\n", path.display(), loaded.diagnostics.summary()));
            }
            Err(Failure::Said(Exit::Pipeline))
        }
    }
}

fn say(diagnostics: &Diagnostics, format: LogFormat) {
    output::complain(match format {
        LogFormat::Text => diagnostics.render(output::color(&io::stderr())),
        LogFormat::Json => diagnostics.to_json_lines(),
    });
}
