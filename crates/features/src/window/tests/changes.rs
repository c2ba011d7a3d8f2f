//! Changes to state: written, applied, merged.

use std::collections::BTreeMap;

use millstream_core::{StateReader, StateWriter, entries};
use proptest::prelude::*;

use super::data::{run, run_with};
use super::random::{Draw, cuts, events, spec};
use crate::window::WindowOperator;
use crate::window::spec::{Function, WindowFunction, WindowSpec};

/// All entries of an operator's state, by id.
fn entries_of(operator: &WindowOperator) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut out = StateWriter::new();
    operator.snapshot(&mut out);
    let mut reader = StateReader::new(out.as_slice());
    let mut all = BTreeMap::new();
    entries::read_head(&mut reader).unwrap();
    while let Some(entry) = entries::read(&mut reader).unwrap() {
        assert!(all.insert(entry.id.to_vec(), entry.value.unwrap().to_vec()).is_none(), "an id stands twice");
    }
    all
}

fn restored(spec: &WindowSpec, chain: &[Vec<u8>]) -> WindowOperator {
    let mut operator = WindowOperator::new(spec.clone()).unwrap();
    for (i, cut) in chain.iter().enumerate() {
        let mut reader = StateReader::new(cut);
        if i == 0 {
            operator.restore(&mut reader).unwrap();
        } else {
            operator.apply_changes(&mut reader).unwrap();
        }
        assert!(reader.is_empty());
    }
    operator
}

fn merged(chain: &[Vec<u8>]) -> Vec<u8> {
    let texts: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    let mut out = StateWriter::new();
    entries::merge(&texts, &mut out).unwrap();
    out.into_bytes()
}

/// Cuts state at random places: a full cut, changes, changes merged into a full cut, changes after a restore.
fn case(seed: u64, count: usize) {
    let mut draw = Draw(seed);
    let spec = spec(&mut draw);
    let data = events(&mut draw, count);
    let whole = run(&spec, &data, &[], |_| false);
    let cuts = cuts(&mut draw, count);
    let mut chain: Vec<Vec<u8>> = Vec::new();
    let outcome = run_with(&spec, &data, &cuts, |_, mut operator| {
        if draw.one_in(3) {
            return operator;
        }
        let mut out = StateWriter::new();
        if chain.is_empty() || draw.one_in(12) {
            chain.clear();
            if draw.one_in(2) {
                operator.take_changes(&mut out);
                if out.as_slice()[0] != 0 {
                    out = StateWriter::new();
                    operator.snapshot(&mut out);
                }
            } else {
                operator.snapshot(&mut out);
                operator.mark_saved();
            }
        } else {
            operator.take_changes(&mut out);
        }
        chain.push(out.into_bytes());
        if draw.one_in(4) {
            // Any stretch of a chain can be merged.
            let from = draw.below(chain.len() as u64) as usize;
            let tail = chain.split_off(from);
            chain.push(merged(&tail));
        }
        let other = restored(&spec, &chain);
        // Sets are written in the order of their tables, which depends on how they came about.
        let sets = |f: &WindowFunction| matches!(f.function, Function::CountDistinct | Function::ApproxDistinct);
        if !spec.functions.iter().any(sets) {
            assert_eq!(entries_of(&other), entries_of(&operator), "{spec:?}");
        }
        let (there, here) = (other.state_size(), operator.state_size());
        assert_eq!((there.keys, there.rows), (here.keys, here.rows), "{spec:?}");
        if draw.one_in(2) { other } else { operator }
    });
    assert_eq!(whole, outcome, "{spec:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_whole_and_changes_are_the_state(seed in any::<u64>(), count in 1usize..150) {
        case(seed, count);
    }
}

/// Once lost rows that waited for the watermark.
#[test]
fn rows_that_wait_are_not_lost() {
    case(10_178_220_397_371_821_041, 114);
}

/// What changes are counted in must not grow without end when nobody takes them.
#[test]
fn changes_that_nobody_takes_are_not_counted_for_ever() {
    let mut draw = Draw(7);
    let data = events(&mut draw, 400);
    let spec = loop {
        let spec = spec(&mut draw);
        if spec.functions.iter().all(|f| !f.partition_by.is_empty()) {
            break spec;
        }
    };
    let whole = run(&spec, &data, &[], |_| false);
    let outcome = run_with(&spec, &data, &(1..400).collect::<Vec<_>>(), |_, mut operator| {
        operator.stores.iter_mut().for_each(|store| store.changed.counted = false);
        let mut out = StateWriter::new();
        operator.take_changes(&mut out);
        assert_eq!(out.as_slice()[0], 0, "all is written where changes were not counted");
        restored(&spec, &[out.into_bytes()])
    });
    assert_eq!(whole, outcome);
}
