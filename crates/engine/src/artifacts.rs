//! Models and tables over time: which bytes serve from which event on.
//!
//! A model or table that changes on disk is an outside influence, so the change is journaled at a position.
//! Where state depends on what served earlier (a window over a joined column, say), a copy of the old bytes is
//! kept in the data directory by digest, and another beside the snapshots for whoever takes a task over; a fold uses it
//! up to the change.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_connectors::codec::InputFormat;
use millstream_core::{Error, JournalEntry, Result};
use millstream_features::{Table, Tables};
use sha2::{Digest as _, Sha256};

use crate::codes::ARTIFACT_MISSING;
use crate::plan::{Plan, PlannedModel, StepKind};
use crate::snapshot::SnapshotStore;

/// A file that a pipeline depends on.
#[derive(Clone, Debug)]
pub struct File {
    /// `model <name>` or `table <name>`.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// SHA-256 of its bytes, hex.
    pub digest: String,
}

/// What a task is built with besides the plan: the models and tables that serve at some position, and the
/// format of the input (a CSV file's header is known only when it is opened).
#[derive(Clone)]
pub struct Serving {
    pub(crate) format: InputFormat,
    pub(crate) tables: Tables,
    pub(crate) models: BTreeMap<String, PlannedModel>,
}

impl Serving {
    /// What the plan loaded: the files as they are now.
    pub fn now(plan: &Plan, format: InputFormat) -> Self {
        Self { format, tables: plan.tables.clone(), models: plan.models.clone() }
    }

    /// What served when these digests did. Falls back to the files as they are now for what no state depends on.
    pub(crate) fn at(plan: &Plan, format: InputFormat, digests: &BTreeMap<String, String>) -> Result<Self> {
        let mut serving = Self::now(plan, format);
        for file in state_files(plan) {
            let Some(digest) = digests.get(&file.name).filter(|d| **d != file.digest) else { continue };
            let copy = copy_path(plan, digest, &file);
            if !copy.exists() {
                return Err(Error::new(
                    ARTIFACT_MISSING,
                    format!(
                        "{} has changed since the last run, and its earlier content `{}` is gone",
                        file.name,
                        copy.display()
                    ),
                )
                .help("put the earlier file back, or start over with `--fresh`"));
            }
            match file.name.split_once(' ') {
                Some(("table", name)) => {
                    if let Some(t) = plan.table_files.get(name) {
                        let table = Table::load(&copy, t.format, t.declared.clone(), &t.key)?;
                        serving.tables.insert(name.to_owned(), Arc::new(table));
                    }
                }
                Some((_, name)) => {
                    if let Some(model) = serving.models.get_mut(name) {
                        model.model = millstream_models::load(&copy, None)?;
                    }
                }
                None => {}
            }
        }
        Ok(serving)
    }
}

/// Every file the plan depends on.
pub(crate) fn files(plan: &Plan) -> Vec<File> {
    let models = plan.models.values().map(|m| File {
        name: format!("model {}", m.name),
        path: m.path.clone(),
        digest: m.model.digest().to_owned(),
    });
    let tables = plan.table_files.iter().filter_map(|(name, file)| {
        let digest = plan.tables.get(name)?.digest().to_owned();
        Some(File { name: format!("table {name}"), path: file.path.clone(), digest })
    });
    tables.chain(models).collect()
}

/// The digests of all files, by journal name.
pub(crate) fn digests(plan: &Plan) -> BTreeMap<String, String> {
    files(plan).into_iter().map(|f| (f.name, f.digest)).collect()
}

/// The files that some step's state depends on.
fn state_files(plan: &Plan) -> Vec<File> {
    let feeds = plan.feeds_state();
    let mut names = Vec::new();
    for (_, step) in plan.steps.iter().enumerate().filter(|(i, _)| feeds[i + 1]) {
        match &step.kind {
            StepKind::Sql(query) => names.extend(query.tables().iter().map(|t| format!("table {t}"))),
            StepKind::Predict(predict) => names.extend(predict.model_name().map(|m| format!("model {m}"))),
        }
    }
    files(plan).into_iter().filter(|f| names.contains(&f.name)).collect()
}

fn copy_name(digest: &str, file: &File) -> String {
    let extension = file.path.extension().and_then(|e| e.to_str()).unwrap_or("bin");
    format!("{digest}.{extension}")
}

fn copy_path(plan: &Plan, digest: &str, file: &File) -> PathBuf {
    plan.env.data_dir().join("artifacts").join(copy_name(digest, file))
}

/// Keeps a copy of every file that state depends on.
///
/// # Errors
/// The data directory can't be written.
pub(crate) fn keep_copies(plan: &Plan) -> Result<()> {
    for file in state_files(plan) {
        let copy = copy_path(plan, &file.digest, &file);
        if !copy.exists() {
            let write = |to: &Path| fs::copy(&file.path, to).map(drop);
            write_copy(plan, &copy, write).map_err(|e| cant_keep(&file, &copy, e))?;
        }
    }
    Ok(())
}

fn write_copy(plan: &Plan, copy: &Path, write: impl FnOnce(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    fs::create_dir_all(plan.env.data_dir().join("artifacts"))?;
    // Several processes may run from one folder.
    let temporary = copy.with_added_extension(format!("{}.tmp", std::process::id()));
    write(&temporary)?;
    fs::File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, copy)
}

fn cant_keep(file: &File, copy: &Path, cause: std::io::Error) -> Error {
    Error::new(ARTIFACT_MISSING, format!("can't keep a copy of {} as `{}`", file.name, copy.display())).because(cause)
}

/// Puts a copy of every file that state depends on beside the snapshots, for instances that never saw it.
///
/// # Errors
/// The state location can't be written.
pub(crate) fn share(plan: &Plan, store: &SnapshotStore) -> Result<()> {
    for file in state_files(plan) {
        store.keep_file(&copy_name(&file.digest, &file), plan.env.data_dir(), &file.path)?;
    }
    Ok(())
}

/// Fetches the files with these digests from beside the snapshots, where state depends on them and this data directory
/// lacks them. What is not there either is found missing when it is used.
///
/// # Errors
/// The state location can't be read, what it holds is damaged, or the data directory can't be written.
pub(crate) fn fetch(plan: &Plan, store: &SnapshotStore, digests: &BTreeMap<String, String>) -> Result<()> {
    for file in state_files(plan) {
        let Some(digest) = digests.get(&file.name).filter(|d| **d != file.digest) else { continue };
        let copy = copy_path(plan, digest, &file);
        if copy.exists() {
            continue;
        }
        let Some(bytes) = store.kept_file(&copy_name(digest, &file))? else { continue };
        let found: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        if found != *digest {
            let message = format!("the copy of {} in `{}` is damaged", file.name, store.describe());
            return Err(Error::new(ARTIFACT_MISSING, message)
                .help("put the file as it was beside the pipeline, or start over with `--fresh`"));
        }
        write_copy(plan, &copy, |to| fs::write(to, &bytes)).map_err(|e| cant_keep(&file, &copy, e))?;
    }
    Ok(())
}

/// The journal entries that bring `served` up to the plan's files, from `at` on.
pub(crate) fn changes(plan: &Plan, served: &BTreeMap<String, String>, at: u64) -> Vec<JournalEntry> {
    digests(plan)
        .into_iter()
        .filter(|(name, digest)| served.get(name) != Some(digest))
        .map(|(name, digest)| JournalEntry::Artifact { at, name, digest })
        .collect()
}
