//! Chains of cuts in a directory: written, merged, damaged, cleared away, written by two at once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use millstream_core::entries::{self, Extent};
use millstream_core::{Position, StateReader, StateWriter, TaskId};

use super::cut::Cutter;
use super::merge::read_steps;
use super::{Header, Loaded, Snapshot, SnapshotStore, StateCut};

const TASK: TaskId = TaskId::new(3);

/// The state of a made-up task: numbers by key.
#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    now: BTreeMap<u8, u64>,
    saved: BTreeMap<u8, u64>,
}

impl State {
    fn write(&self, changes: bool) -> Vec<u8> {
        let mut out = StateWriter::new();
        out.nested(|out| out.i64(self.now.len() as i64));
        out.u64(1);
        out.str("step");
        out.bool(true);
        out.nested(|out| {
            entries::begin(if changes { Extent::Changes } else { Extent::Whole }, out);
            for key in self.saved.keys().filter(|key| changes && !self.now.contains_key(key)) {
                entries::remove(&[&[*key]], out);
            }
            for (key, value) in self.now.iter().filter(|(key, v)| !changes || self.saved.get(key) != Some(v)) {
                entries::put(&[&[*key]], out, |out| out.u64(*value));
            }
            entries::end(out);
        });
        out.into_bytes()
    }

    fn cut(&mut self, cutter: &mut Cutter) -> StateCut {
        cutter.cut_with(7, |changes| {
            let bytes = self.write(changes);
            self.saved = self.now.clone();
            bytes
        })
    }

    fn read(loaded: &Loaded) -> BTreeMap<u8, u64> {
        let mut all = BTreeMap::new();
        for cut in &loaded.cuts {
            let mut reader = StateReader::new(cut);
            reader.bytes().unwrap();
            let step = read_steps(&mut reader).unwrap()[0];
            let mut state = StateReader::new(step.state);
            if entries::read_head(&mut state).unwrap() == Extent::Whole {
                all.clear();
            }
            while let Some(entry) = entries::read(&mut state).unwrap() {
                match entry.value {
                    Some(value) => all.insert(entry.id[0], u64::from_le_bytes(value.try_into().unwrap())),
                    None => all.remove(&entry.id[0]),
                };
            }
        }
        all
    }
}

fn snapshot(offset: u64, state: StateCut) -> Snapshot {
    let header = Header {
        pipeline: "p".into(),
        task: TASK,
        epoch: offset / 10,
        position: Position { offset, cursor: String::new() },
        journal_len: 0,
        steps: BTreeMap::new(),
        artifacts: BTreeMap::new(),
    };
    Snapshot { header, state }
}

fn open(dir: &Path) -> SnapshotStore {
    SnapshotStore::open(dir.to_str().unwrap(), "p").unwrap()
}

/// A full cut that is the whole of a line.
fn full(value: u64) -> StateCut {
    let mut state = State { now: (0..20).map(|key| (key, value)).collect(), ..State::default() };
    state.cut(&mut Cutter::default())
}

fn offsets(store: &SnapshotStore) -> Vec<u64> {
    store.load(TASK).filter_map(|loaded| Some(loaded.ok()?.header.position.offset)).collect()
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir.join("p/3")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == extension));
    files.sort();
    files
}

#[test]
fn every_snapshot_of_a_long_line_is_the_state_there() {
    let tmp = tempfile::tempdir().unwrap();
    let (store, keep) = (open(tmp.path()), 3);
    let (mut state, mut cutter) = (State::default(), Cutter::default());
    let mut history = BTreeMap::new();
    let mut draw = 1u64;
    let mut fulls = 0;
    for i in 1..=120u64 {
        for _ in 0..3 {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = (draw >> 40) as u8;
            if draw >> 60 < 4 {
                state.now.remove(&key).map(drop)
            } else {
                state.now.insert(key, draw).map(drop)
            };
        }
        // Now and then a cut is lost, or the writer was busy.
        let cut = state.cut(&mut cutter);
        fulls += u64::from(!cut.changes);
        if i % 25 == 0 {
            drop(cut);
        } else {
            store.write(&snapshot(i * 10, cut), keep).unwrap();
            history.insert(i * 10, state.now.clone());
        }
        assert!(cutter.is_idle());
        let loaded: Vec<Loaded> = store.load(TASK).map(Result::unwrap).collect();
        assert_eq!(loaded.len(), history.len().min(keep));
        for loaded in loaded {
            assert_eq!(
                State::read(&loaded),
                history[&loaded.header.position.offset],
                "offset {}",
                loaded.header.position.offset
            );
        }
        let info = store.newest(TASK).unwrap();
        assert_eq!(info.offset, *history.keys().next_back().unwrap());
        assert!(info.bytes > 0 && info.watermark == 7);
    }
    assert_eq!(fulls, 5, "the first, and one after each that was lost");
    assert!(files(tmp.path(), "manifest").len() == keep);
    assert!(files(tmp.path(), "full").len() + files(tmp.path(), "changes").len() < 60, "what nobody names goes");
}

#[test]
fn a_restored_task_goes_on_with_the_chain_it_came_from() {
    let tmp = tempfile::tempdir().unwrap();
    let store = open(tmp.path());
    let (mut state, mut cutter) = (State::default(), Cutter::default());
    state.now = (0..200).map(|key| (key, 1)).collect();
    store.write(&snapshot(10, state.cut(&mut cutter)), 2).unwrap();
    state.now.insert(7, 2);
    store.write(&snapshot(20, state.cut(&mut cutter)), 2).unwrap();
    // Another process.
    let store = open(tmp.path());
    let loaded = store.load(TASK).next().unwrap().unwrap();
    let mut cutter = Cutter::default();
    cutter.begin(loaded.base());
    state.now.insert(8, 3);
    let cut = state.cut(&mut cutter);
    assert!(cut.changes);
    store.write(&snapshot(30, cut), 2).unwrap();
    assert_eq!(files(tmp.path(), "full").len(), 1, "nothing was written twice");
    let loaded = store.load(TASK).next().unwrap().unwrap();
    assert_eq!((loaded.cuts.len(), State::read(&loaded)), (3, state.now));
}

#[test]
fn damaged_snapshots_are_passed_over() {
    let tmp = tempfile::tempdir().unwrap();
    let store = open(tmp.path());
    for offset in [10, 20, 30, 40] {
        store.write(&snapshot(offset, full(offset)), 4).unwrap();
    }
    fs::write(&files(tmp.path(), "manifest")[3], b"torn").unwrap();
    let cut = &files(tmp.path(), "full")[2];
    let mut bytes = fs::read(cut).unwrap();
    bytes[30] ^= 1;
    fs::write(cut, bytes).unwrap();
    fs::remove_file(&files(tmp.path(), "full")[0]).unwrap();
    let loaded: Vec<_> = store.load(TASK).collect();
    assert_eq!(loaded.iter().map(|l| l.is_ok()).collect::<Vec<_>>(), [false, false, true, false]);
    assert_eq!(offsets(&store), [20]);
    // They count for nothing, and go when good ones have come after them.
    for offset in [50, 60] {
        store.write(&snapshot(offset, full(offset)), 2).unwrap();
    }
    assert_eq!(offsets(&store), [60, 50]);
    assert_eq!(files(tmp.path(), "full").len(), 2);
}

#[test]
fn changes_on_top_of_what_is_gone_are_refused_and_the_next_cut_is_full() {
    let tmp = tempfile::tempdir().unwrap();
    let store = open(tmp.path());
    let (mut state, mut cutter) = (State::default(), Cutter::default());
    state.now = (0..200).map(|key| (key, 1)).collect();
    store.write(&snapshot(10, state.cut(&mut cutter)), 2).unwrap();
    fs::remove_file(&files(tmp.path(), "full")[0]).unwrap();
    state.now.insert(1, 2);
    assert_eq!(store.write(&snapshot(20, state.cut(&mut cutter)), 2).unwrap_err().code().id, "MS0651");
    let cut = state.cut(&mut cutter);
    assert!(!cut.changes);
    store.write(&snapshot(30, cut), 2).unwrap();
    assert_eq!(State::read(&store.load(TASK).next().unwrap().unwrap()), state.now);
}

#[test]
fn one_that_was_cut_off_does_not_spoil_the_others_chain() {
    let tmp = tempfile::tempdir().unwrap();
    let (zombie, owner) = (open(tmp.path()), open(tmp.path()));
    let (mut state, mut cutter) = (State::default(), Cutter::default());
    state.now = (0..200).map(|key| (key, 1)).collect();
    zombie.write(&snapshot(10, state.cut(&mut cutter)), 2).unwrap();
    let loaded = owner.load(TASK).next().unwrap().unwrap();
    let (mut state_now, mut cutter_now) = (state.clone(), Cutter::default());
    cutter_now.begin(loaded.base());
    for i in 2..8 {
        // Both are at the same positions; what the zombie holds was committed too, but for its own changes.
        state.now.insert(i, 100);
        state_now.now.insert(i, 200);
        zombie.write(&snapshot(u64::from(i) * 10, state.cut(&mut cutter)), 2).unwrap();
        owner.write(&snapshot(u64::from(i) * 10, state_now.cut(&mut cutter_now)), 2).unwrap();
        for loaded in owner.load(TASK) {
            let read = State::read(&loaded.unwrap());
            assert!(read == state.now || read == state_now.now);
        }
    }
}

#[test]
fn what_is_ahead_goes_and_all_goes() {
    let tmp = tempfile::tempdir().unwrap();
    let store = open(tmp.path());
    assert_eq!((store.load(TASK).count(), store.newest(TASK)), (0, None));
    for offset in [10, 20, 30] {
        store.write(&snapshot(offset, full(offset)), 9).unwrap();
    }
    store.remove_ahead(TASK, 20, 3).unwrap();
    assert_eq!(offsets(&store), [20, 10]);
    store.remove_ahead(TASK, 20, 1).unwrap();
    assert_eq!(offsets(&store), [10], "an epoch that never was, at an offset that was");
    store.clear().unwrap();
    assert_eq!(offsets(&store), [0; 0]);
    store.clear().unwrap();
}

#[test]
fn half_written_files_go_with_the_snapshots_of_their_time() {
    let tmp = tempfile::tempdir().unwrap();
    let store = open(tmp.path());
    store.write(&snapshot(10, full(1)), 1).unwrap();
    let torn = files(tmp.path(), "full")[0].with_added_extension("99.tmp");
    fs::write(&torn, b"torn").unwrap();
    store.write(&snapshot(20, full(2)), 1).unwrap();
    assert!(!torn.exists());
    assert_eq!(offsets(&store), [20]);
}

#[test]
fn locations_that_make_no_sense_say_so() {
    for location in ["ftp://host/x", "https://host.example/x", "memory:///x", "s3://", "file://elsewhere/x"] {
        let error = SnapshotStore::open(location, "p").err().unwrap_or_else(|| panic!("{location} is taken"));
        assert_eq!(error.code().id, "MS0655");
        assert!(error.message().contains(location), "{error}");
    }
    let url = url::Url::from_directory_path(tempfile::tempdir().unwrap().path()).unwrap();
    let store = SnapshotStore::open(url.as_str(), "p").unwrap();
    store.write(&snapshot(10, full(1)), 1).unwrap();
    assert_eq!(offsets(&store), [10]);
    store.clear().unwrap();
}

#[test]
fn a_place_that_can_not_be_written_says_what_to_do() {
    let tmp = tempfile::tempdir().unwrap();
    let file = tmp.path().join("file");
    fs::write(&file, b"").unwrap();
    let store = open(&file);
    let error = store.write(&snapshot(10, full(1)), 1).unwrap_err();
    assert_eq!(error.code().id, "MS0651");
    assert!(error.help_text().unwrap().contains("`state:`"), "{:?}", error.help_text());
}
