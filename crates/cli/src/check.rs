//! `millstream check` and `millstream explain`.

use std::io;
use std::path::Path;

use millstream_engine::Plan;

use crate::args::{CheckArgs, CheckFormat, ExplainArgs, LogFormat};
use crate::failure::{Exit, Failure, Outcome, render};
use crate::output::{self, Output};
use crate::plan;

/// Checks every file and prints every problem.
pub fn check(args: &CheckArgs) -> Outcome {
    let mut out = Output::new();
    let mut worst: Option<Exit> = None;
    for file in &args.files {
        let failed = match args.format {
            CheckFormat::Text => check_text(args, file, &mut out)?,
            CheckFormat::Json => check_json(args, file, &mut out)?,
        };
        worst = worst.or(failed);
    }
    out.flush()?;
    worst.map_or(Ok(()), |exit| Err(Failure::Said(exit)))
}

fn check_text(args: &CheckArgs, file: &Path, out: &mut Output) -> Outcome<Option<Exit>> {
    let loaded = match plan::read(file, args.connect, plan::data_dir(args.data_dir.as_deref())) {
        Ok(loaded) => loaded,
        Err(Failure::Error(error)) => {
            out.write(render(&error))?;
            return Ok(Some(Exit::Pipeline));
        }
        Err(other) => return Err(other),
    };
    out.write(loaded.diagnostics.render(output::color(&io::stdout())))?;
    out.write(format!("{}: {}\n", file.display(), loaded.diagnostics.summary()))?;
    if let Some(plan) = loaded.plan.filter(|_| !loaded.diagnostics.has_errors()) {
        out.write(state_text(&plan))?;
        return Ok(None);
    }
    Ok(Some(Exit::Pipeline))
}

/// What a run would do with the state of earlier runs; nothing where there were none.
fn state_text(plan: &Plan) -> String {
    if !plan.env().data_dir().exists() {
        return String::new();
    }
    match plan.state_report() {
        Ok(report) => report.to_string().lines().map(|line| format!("  {line}\n")).collect(),
        Err(error) => format!("  the state of earlier runs can't be read: {error}\n"),
    }
}

fn check_json(args: &CheckArgs, file: &Path, out: &mut Output) -> Outcome<Option<Exit>> {
    match plan::read(file, args.connect, plan::data_dir(args.data_dir.as_deref())) {
        Ok(loaded) => {
            out.write(loaded.diagnostics.to_json_lines())?;
            Ok((loaded.diagnostics.has_errors() || loaded.plan.is_none()).then_some(Exit::Pipeline))
        }
        Err(Failure::Error(error)) => {
            let line = serde_json::json!({
                "severity": "error",
                "code": error.code().id,
                "message": error.to_string(),
                "file": file.display().to_string(),
                "help": error.help_text(),
            });
            out.write(format!("{line}\n"))?;
            Ok(Some(Exit::Pipeline))
        }
        Err(other) => Err(other),
    }
}

/// Prints the plan.
pub fn explain(args: &ExplainArgs) -> Outcome {
    let plan = plan::plan(&args.file, false, plan::data_dir(args.data_dir.as_deref()), LogFormat::Text, false)?;
    let mut text = plan.explain();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    output::print(text + &state_text(&plan))
}
