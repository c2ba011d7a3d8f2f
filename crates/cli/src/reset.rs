//! `millstream reset`: shows what would change, asks, and does it.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};

use millstream_connectors::look::Place;
use millstream_core::Error;
use millstream_engine::status::{Reset, ResetOptions, StateAfter, prepare_reset};

use crate::args::{LogFormat, ResetArgs, ResetState, ResetTo};
use crate::failure::{Failure, Outcome};
use crate::output::{self, table, thousands};
use crate::{codes, plan};

/// Sets where the next run goes on.
pub fn reset(args: &ResetArgs) -> Outcome {
    let plan = plan::plan(&args.file, false, plan::data_dir(args.data_dir.as_deref()), LogFormat::Text, true)?;
    let to = args.to.map(|to| match to {
        ResetTo::Earliest => Place::Earliest,
        ResetTo::Latest => Place::Latest,
        ResetTo::Offset(offset) => Place::Offset(offset),
        ResetTo::Timestamp(ms) => Place::Timestamp(ms),
    });
    let state = match (args.state, args.to) {
        (Some(ResetState::Empty), _) | (None, Some(ResetTo::Earliest)) => StateAfter::Empty,
        (Some(ResetState::Rebuild), _) | (None, _) => StateAfter::Rebuilt,
    };
    let reset = prepare_reset(&plan, &ResetOptions { to, partitions: args.partition.clone(), state })?;
    if reset.changes.is_empty() {
        return output::print(format!("{}: nothing was committed yet, so there is nothing to reset\n", plan.name()));
    }
    output::print(text(plan.name(), &reset))?;
    if args.dry_run {
        let running: BTreeSet<&str> = reset.owners.iter().map(|owner| owner.name.as_str()).collect();
        if !running.is_empty() {
            let names = running.into_iter().collect::<Vec<_>>().join(", ");
            output::print(format!("it can't be done while these processes run: {names}\n"))?;
        }
        return output::print("nothing was changed (--dry-run)\n");
    }
    // With somebody running it, there is nothing to agree to.
    if reset.owners.is_empty() && !args.yes && !agreed()? {
        return output::print("nothing was changed\n");
    }
    reset.apply()?;
    output::print("done; the next run goes on there\n")
}

fn text(pipeline: &str, reset: &Reset) -> String {
    let several = reset.changes.iter().any(|change| change.topic != reset.changes[0].topic);
    let rows = reset.changes.iter().map(|change| {
        let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), thousands);
        let state = match change.folds_from {
            _ if !reset.stateful => "none".to_owned(),
            Some(from) => format!("folded from {}", thousands(from)),
            None => "empty".to_owned(),
        };
        let again = change.from.map_or(0, |from| from.saturating_sub(change.to));
        let skipped = change.from.map_or(0, |from| change.to.saturating_sub(from));
        let mut row = vec![
            change.task.partition.to_string(),
            number(change.from),
            thousands(change.to),
            number(Some(again)),
            number(Some(skipped)),
            state,
        ];
        if several {
            row.insert(0, change.topic.clone().unwrap_or_default());
        }
        row
    });
    let mut header = vec!["partition", "committed", "new", "read again", "skipped", "state"];
    let mut right = vec![0, 1, 2, 3, 4];
    if several {
        header.insert(0, "topic");
        right.iter_mut().for_each(|column| *column += 1);
    }
    format!("{pipeline}:\n{}", table(&header, &rows.collect::<Vec<_>>(), &right))
}

/// Asks whoever sits there.
fn agreed() -> Outcome<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::new(codes::ARGUMENT, "nobody can be asked whether to go on")
            .help("say `--yes` to do it, or `--dry-run` to see what it would do")
            .into());
    }
    let failed = |cause| Failure::io("asking", cause);
    let mut errors = std::io::stderr();
    errors.write_all(b"do it? [y/N] ").and_then(|()| errors.flush()).map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
