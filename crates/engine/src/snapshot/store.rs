//! Writing, reading and clearing away snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millstream_core::{Error, Result, TaskId};

use super::cut::{Line, StateCut};
use super::frame::{self, Sort};
use super::manifest::{self, Header, Link, Manifest};
use super::merge::merge;
use super::place::{Fault, Place};
use super::{Info, Loaded, Snapshot};
use crate::codes::{SNAPSHOT_READ, SNAPSHOT_WRITE, STATE_LOCATION};

/// Cuts that a chain may have before it is merged, however small they are: bounds the objects a restore reads.
const LINKS_MAX: usize = 16;

/// After a store of objects has refused (for as long as it was asked again), nothing is written to it for so long: a
/// process that ends saves all its tasks one after the other, and must not wait for each.
const PAUSE: Duration = Duration::from_secs(30);

/// The snapshots of one pipeline.
pub struct SnapshotStore {
    place: Place,
    pipeline: String,
    /// Tells this process's objects from others'.
    writer: String,
    chains: Mutex<BTreeMap<TaskId, Chain>>,
    refused: Mutex<Option<Instant>>,
}

/// What the next changes of a task go on top of.
struct Chain {
    line: Arc<Line>,
    number: u64,
    links: Vec<Link>,
}

impl SnapshotStore {
    /// The snapshots of a pipeline in a location: a path, or a URL (`s3://`, `gs://`, `az://`, `file://`; credentials
    /// come from the environment). Nothing is asked of the location yet.
    ///
    /// # Errors
    /// The URL, or the settings in the environment, make no sense.
    pub fn open(location: &str, pipeline: &str) -> Result<Self> {
        // Random, by the only generator that the standard library has.
        let random = std::hash::RandomState::new().build_hasher().finish();
        Ok(Self {
            place: Place::open(location)?,
            pipeline: pipeline.to_owned(),
            writer: format!("{:08x}", random as u32),
            chains: Mutex::default(),
            refused: Mutex::default(),
        })
    }

    /// The location, as the user gave it.
    pub fn describe(&self) -> &str {
        self.place.name()
    }

    fn dir(&self, task: TaskId) -> String {
        format!("{}/{task}", self.pipeline)
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chains(&self) -> std::sync::MutexGuard<'_, BTreeMap<TaskId, Chain>> {
        self.chains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a cut part of a snapshot, durably; merges the chain where that is due; then removes what is older than the
    /// newest `keep` snapshots. A cut that follows one which was lost is passed over: its task makes a full one next.
    ///
    /// # Errors
    /// The location refuses. What was there before still stands.
    pub fn write(&self, snapshot: &Snapshot, keep: usize) -> Result<()> {
        let (header, cut) = (&snapshot.header, &snapshot.state);
        let Some(mut chain) = self.chain_before(header.task, cut) else {
            tracing::debug!(task = %header.task, "changes are passed over: what they change was not written");
            return Ok(());
        };
        let dir = self.dir(header.task);
        if self.refused().is_some_and(|at| at.elapsed() < PAUSE) {
            return Err(self.cant_write(&dir, "it refused a moment ago").help("see the warning before this one"));
        }
        let extension = if cut.changes { manifest::CHANGES } else { manifest::FULL };
        chain.push(self.put_cut(header, extension, &cut.bytes)?);
        let present = self.place.list(&dir).map_err(|e| self.write_error(&dir, e))?;
        // Someone who was cut off may have taken what this chain rests on for old.
        if let Some(gone) = chain.iter().find(|link| present.binary_search(&link.name).is_err()) {
            return Err(self.write_error(&format!("{dir}/{}", gone.name), Fault::Missing));
        }
        let created_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let mut manifest = Manifest { header: header.clone(), chain, watermark: cut.watermark, created_ms };
        self.put_manifest(&manifest)?;
        cut.is_written();
        if is_long(&manifest.chain) {
            // A chain that can't be read back is of no use: with the error, the task begins a new one.
            self.compact(&mut manifest).inspect_err(|_| cut.line.give_up())?;
        }
        let chain = Chain { line: cut.line.clone(), number: cut.number, links: manifest.chain.clone() };
        self.chains().insert(header.task, chain);
        self.clear_away(&manifest, &present, keep.max(1)).map_err(|e| self.write_error(&dir, e))
    }

    /// The chain that a cut belongs on; `None` if that is not what was written last.
    fn chain_before(&self, task: TaskId, cut: &StateCut) -> Option<Vec<Link>> {
        let last = self.chains().remove(&task);
        if !cut.changes {
            return Some(Vec::new());
        }
        if cut.number == 1 {
            return Some(cut.line.base.0.clone());
        }
        last.filter(|l| Arc::ptr_eq(&l.line, &cut.line) && l.number + 1 == cut.number).map(|l| l.links)
    }

    fn put_cut(&self, header: &Header, extension: &str, state: &[u8]) -> Result<Link> {
        let name = manifest::name(header, &self.writer, extension);
        let head = frame::head(Sort::Cut, state);
        let tail = frame::tail(&head, state);
        let path = format!("{}/{name}", self.dir(header.task));
        self.place.put(&path, &[&head, state, &tail]).map_err(|e| self.write_error(&path, e))?;
        let bytes = (head.len() + state.len() + tail.len()) as u64;
        Ok(Link { name, bytes, crc: u32::from_le_bytes(tail) })
    }

    fn put_manifest(&self, manifest: &Manifest) -> Result<()> {
        let name = manifest::name(&manifest.header, &self.writer, manifest::MANIFEST);
        let path = format!("{}/{name}", self.dir(manifest.header.task));
        let body = serde_json::to_vec(manifest)
            .map_err(|e| Error::new(SNAPSHOT_WRITE, "a snapshot's manifest can't be encoded").because(e))?;
        let head = frame::head(Sort::Manifest, &body);
        let tail = frame::tail(&head, &body);
        self.place.put(&path, &[&head, &body, &tail]).map_err(|e| self.write_error(&path, e))
    }

    /// Merges the chain of a manifest into one cut, and writes the manifest anew.
    fn compact(&self, manifest: &mut Manifest) -> Result<()> {
        let dir = self.dir(manifest.header.task);
        let cuts = self.read_chain(&dir, &manifest.chain)?;
        let merged = merge(&cuts)?;
        drop(cuts);
        manifest.chain = vec![self.put_cut(&manifest.header, manifest::FULL, &merged)?];
        self.put_manifest(manifest)
    }

    /// Removes manifests beyond the newest `keep`, and cuts that none of those names. Only what is older than the oldest
    /// of them is touched: what is newer may be the beginning of another writer's snapshot.
    fn clear_away(&self, newest: &Manifest, present: &[String], keep: usize) -> Result<(), Fault> {
        let dir = self.dir(newest.header.task);
        let own = manifest::name(&newest.header, &self.writer, manifest::MANIFEST);
        let names = present.iter().map(String::as_str).chain([own.as_str()]);
        let mut objects: Vec<_> = names.filter_map(|name| Some((manifest::parse(name)?, name))).collect();
        objects.sort_unstable_by(|a, b| b.cmp(a));
        objects.dedup();
        let (mut kept, mut oldest) = (0, None);
        let mut named: BTreeSet<String> = newest.chain.iter().map(|link| link.name.clone()).collect();
        for (parsed, name) in objects.iter().filter(|(parsed, _)| parsed.manifest) {
            let at = (parsed.offset, parsed.epoch);
            // Two writers' snapshots of one position stay or go together.
            if oldest.is_some_and(|oldest| at < oldest) {
                break;
            }
            if *name != own {
                // Damaged ones count for nothing, and go when they are old.
                let bytes = self.place.get_any(&format!("{dir}/{name}"))?;
                let Some(Ok(other)) = bytes.map(decode) else { continue };
                named.extend(other.chain.into_iter().map(|link| link.name));
            }
            kept += 1;
            if kept == keep {
                oldest = Some(at);
            }
        }
        let Some(oldest) = oldest else { return Ok(()) };
        let old = objects.iter().filter(|(p, name)| (p.offset, p.epoch) < oldest && !named.contains(*name));
        // Manifests first: none must name what is gone.
        let (manifests, cuts): (Vec<_>, Vec<_>) = old.partition(|(parsed, _)| parsed.manifest);
        let mut old = manifests.into_iter().chain(cuts);
        old.try_for_each(|(_, name)| self.place.remove(&format!("{dir}/{name}")))
    }

    /// The snapshots of a task, newest first, each read when it is asked for; what is wrong with those that can't be
    /// used. If the location can't be asked at all, that alone.
    pub fn load(&self, task: TaskId) -> impl Iterator<Item = Result<Loaded>> + '_ {
        let (names, unreachable) = match self.manifests(task) {
            Ok(names) => (names, None),
            Err(error) => (Vec::new(), Some(Err(error))),
        };
        let dir = self.dir(task);
        let read = move |name: String| {
            let manifest = self.read_manifest(&dir, &name)?;
            let cuts = self.read_chain(&dir, &manifest.chain)?;
            Ok(Loaded { header: manifest.header, cuts, chain: manifest.chain })
        };
        unreachable.into_iter().chain(names.into_iter().map(read))
    }

    /// What the newest snapshot of a task is; `None` if there is none that can be read.
    pub fn newest(&self, task: TaskId) -> Option<Info> {
        let dir = self.dir(task);
        let names = self.manifests(task).ok()?;
        let manifest = names.iter().find_map(|name| self.read_manifest(&dir, name).ok())?;
        let age = SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_millis(manifest.created_ms));
        Some(Info {
            offset: manifest.header.position.offset,
            epoch: manifest.header.epoch,
            age: age.unwrap_or_default(),
            bytes: manifest.bytes(),
            watermark: manifest.watermark,
        })
    }

    /// The manifests of a task, newest first.
    /// How much of a task's journal every snapshot of it that is kept has folded in; `None` if that can't be said.
    pub(crate) fn journal_folded(&self, task: TaskId) -> Option<u64> {
        let dir = self.dir(task);
        let manifests = self.manifests(task).ok()?;
        let lengths = manifests.iter().map(|name| Some(self.read_manifest(&dir, name).ok()?.header.journal_len));
        lengths.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    fn manifests(&self, task: TaskId) -> Result<Vec<String>> {
        let dir = self.dir(task);
        let names = self.place.list(&dir).map_err(|fault| {
            Error::new(STATE_LOCATION, format!("can't list the snapshots `{dir}` in `{}`", self.describe()))
                .help(fault.help())
                .because(fault.cause())
        })?;
        Ok(names.into_iter().rev().filter(|name| manifest::parse(name).is_some_and(|n| n.manifest)).collect())
    }

    fn read_manifest(&self, dir: &str, name: &str) -> Result<Manifest> {
        let path = format!("{dir}/{name}");
        let bytes = self.place.get_any(&path).map_err(|e| self.unreadable(&path, e))?;
        let bytes = bytes.ok_or_else(|| self.unreadable(&path, Fault::Missing))?;
        decode(bytes).map_err(|why| self.unusable(&path, why))
    }

    fn read_chain(&self, dir: &str, chain: &[Link]) -> Result<Vec<Vec<u8>>> {
        let read = |link: &Link| {
            let path = format!("{dir}/{}", link.name);
            let bytes = self.place.get(&path, link.bytes).map_err(|e| self.unreadable(&path, e))?;
            if bytes.len() as u64 != link.bytes || bytes.last_chunk() != Some(&link.crc.to_le_bytes()) {
                return Err(self.unusable(&path, "it is not what its manifest says"));
            }
            frame::open(Sort::Cut, bytes).map_err(|why| self.unusable(&path, why))
        };
        chain.iter().map(read).collect()
    }

    /// Removes snapshots ahead of the newest commit. They are of commits that were lost (with the power, or with a folder
    /// that somebody removed), and what is committed in their stead need not be the same: as soon as it has come as far,
    /// they would be taken for snapshots of it.
    ///
    /// # Errors
    /// The location refuses.
    pub fn remove_ahead(&self, task: TaskId, offset: u64, epoch: u64) -> Result<()> {
        let dir = self.dir(task);
        let remove = || {
            let names = self.place.list(&dir)?;
            // Manifests first: none must name what is gone.
            let mut ahead: Vec<_> = names.iter().filter_map(|name| Some((manifest::parse(name)?, name))).collect();
            ahead.retain(|(parsed, _)| parsed.offset > offset || parsed.epoch > epoch);
            ahead.sort_by_key(|(parsed, _)| !parsed.manifest);
            ahead.into_iter().try_for_each(|(_, name)| self.place.remove(&format!("{dir}/{name}")))
        };
        remove().map_err(|e| self.write_error(&dir, e))
    }

    /// Removes all snapshots of the pipeline, and the copies of files beside them.
    ///
    /// # Errors
    /// Something can't be removed.
    pub fn clear(&self) -> Result<()> {
        self.chains().clear();
        self.place.remove_all(&self.pipeline).map_err(|fault| {
            Error::new(STATE_LOCATION, format!("can't remove `{}` in `{}`", self.pipeline, self.describe()))
                .help(fault.help())
                .because(fault.cause())
        })
    }

    /// Keeps a file that state depends on, unless it is there. Nothing to do where `beside`, a directory that has it
    /// already, holds the location itself.
    ///
    /// # Errors
    /// The location refuses.
    pub(crate) fn keep_file(&self, name: &str, beside: &Path, file: &Path) -> Result<()> {
        if self.place.is_below(beside) {
            return Ok(());
        }
        let path = format!("{}/artifacts/{name}", self.pipeline);
        let keep = || {
            if self.place.list(&format!("{}/artifacts", self.pipeline))?.iter().any(|known| known == name) {
                return Ok(());
            }
            self.place.put(&path, &[&std::fs::read(file)?])
        };
        keep().map_err(|fault: Fault| {
            Error::new(STATE_LOCATION, format!("can't keep a copy of `{}` in `{}`", file.display(), self.describe()))
                .help(fault.help())
                .because(fault.cause())
        })
    }

    /// A file that was kept, if it was.
    ///
    /// # Errors
    /// The location refuses.
    pub(crate) fn kept_file(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = format!("{}/artifacts/{name}", self.pipeline);
        self.place.get_any(&path).map_err(|e| self.unreadable(&path, e))
    }

    fn write_error(&self, path: &str, fault: Fault) -> Error {
        if let Fault::Remote(_) = fault {
            *self.refused() = Some(Instant::now());
        }
        let help = format!("{}. The pipeline goes on meanwhile", fault.help());
        self.cant_write(path, fault.cause()).help(help)
    }

    fn cant_write(&self, path: &str, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::new(SNAPSHOT_WRITE, format!("can't write `{path}` in `{}`", self.describe())).because(cause)
    }

    fn unreadable(&self, path: &str, fault: Fault) -> Error {
        Error::new(SNAPSHOT_READ, format!("can't read `{path}` in `{}`", self.describe()))
            .help(fault.help())
            .because(fault.cause())
    }

    fn unusable(&self, path: &str, why: &str) -> Error {
        Error::new(SNAPSHOT_READ, format!("`{path}` in `{}` is not used: {why}", self.describe()))
            .help("nothing is lost: an older snapshot is taken, or the input is folded from the start")
    }
}

fn decode(bytes: Vec<u8>) -> Result<Manifest, &'static str> {
    let body = frame::open(Sort::Manifest, bytes)?;
    serde_json::from_slice(&body).map_err(|_| "it does not parse")
}

/// Whether a chain is better merged: its changes outweigh its first cut, or there are many.
fn is_long(chain: &[Link]) -> bool {
    let changes = chain.iter().skip(1).map(|link| link.bytes).sum::<u64>();
    chain.len() > LINKS_MAX || chain.first().is_some_and(|full| changes > full.bytes)
}
