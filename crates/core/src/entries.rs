//! State as entries: an id and a value each, so that changes can be written alone and merged without the step they
//! belong to. A snapshot writer makes a new whole out of the last whole and the changes since, and the worker never has
//! to stop for one.
//!
//! A [`StateWriter`] gets a head (whole, or changes to what was before), entries, an end. In one text of entries, and
//! from text to text, the later entry of an id counts.

use std::collections::HashMap;

use crate::codes::STATE_CORRUPT;
use crate::error::{Error, Result};
use crate::state::{StateReader, StateWriter};

/// Whether entries are all there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of the state: what was before is forgotten.
    Whole,
    /// What changed.
    Changes,
}

/// Ends the entries: no id is as long.
const END: u32 = u32::MAX;

/// Begins entries.
pub fn begin(extent: Extent, out: &mut StateWriter) {
    out.u8(u8::from(extent == Extent::Changes));
}

fn put_id(id: &[&[u8]], out: &mut StateWriter) {
    let length: usize = id.iter().map(|part| part.len()).sum();
    out.u32(length as u32);
    id.iter().for_each(|part| out.raw(part));
}

/// Writes an entry; its id is the parts in a row.
pub fn put(id: &[&[u8]], out: &mut StateWriter, value: impl FnOnce(&mut StateWriter)) {
    put_id(id, out);
    out.u8(1);
    out.nested(value);
}

/// Writes that an entry is gone.
pub fn remove(id: &[&[u8]], out: &mut StateWriter) {
    put_id(id, out);
    out.u8(0);
}

/// Ends the entries.
pub fn end(out: &mut StateWriter) {
    out.u32(END);
}

/// An entry: its value is `None` if it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What is stored.
    pub id: &'a [u8],
    /// Its value.
    pub value: Option<&'a [u8]>,
}

/// Reads the head.
///
/// # Errors
/// The bytes are damaged.
pub fn read_head(state: &mut StateReader<'_>) -> Result<Extent> {
    Ok(if state.bool()? { Extent::Changes } else { Extent::Whole })
}

/// Reads an entry; `None` at the end.
///
/// # Errors
/// The bytes are damaged.
pub fn read<'a>(state: &mut StateReader<'a>) -> Result<Option<Entry<'a>>> {
    let length = state.u32()?;
    if length == END {
        return Ok(None);
    }
    let id = state.raw(length as usize)?;
    let value = if state.bool()? { Some(state.bytes()?) } else { None };
    Ok(Some(Entry { id, value }))
}

/// Makes one text of entries out of several, oldest first: a whole if the first is one. The entries of the first keep
/// their places, new ones follow in the order in which they came.
///
/// # Errors
/// The bytes are damaged.
pub fn merge(texts: &[&[u8]], out: &mut StateWriter) -> Result<()> {
    let mut readers = Vec::with_capacity(texts.len());
    let mut extent = Extent::Changes;
    for text in texts {
        let mut reader = StateReader::new(text);
        if read_head(&mut reader)? == Extent::Whole {
            readers.clear();
            extent = Extent::Whole;
        }
        readers.push(reader);
    }
    let mut readers = readers.into_iter();
    let mut first = readers.next().ok_or_else(|| Error::new(STATE_CORRUPT, "there is no state to merge"))?;
    // The newest entry of each id, and whether it was written; the ids in the order in which they came.
    let mut newest: HashMap<&[u8], (Option<&[u8]>, bool)> = HashMap::new();
    let mut order = Vec::new();
    for mut reader in readers {
        while let Some(entry) = read(&mut reader)? {
            if newest.insert(entry.id, (entry.value, false)).is_none() {
                order.push(entry.id);
            }
        }
    }
    begin(extent, out);
    while let Some(entry) = read(&mut first)? {
        match newest.get_mut(entry.id) {
            None => write(entry, extent, out),
            // An id that stands twice in the first text keeps its first place.
            Some((_, true)) => {}
            Some((value, written)) => {
                *written = true;
                write(Entry { value: *value, ..entry }, extent, out);
            }
        }
    }
    for id in order {
        if let Some(&(value, false)) = newest.get(id) {
            write(Entry { id, value }, extent, out);
        }
    }
    end(out);
    Ok(())
}

/// That an entry is gone means nothing where there is nothing before.
fn write(entry: Entry<'_>, extent: Extent, out: &mut StateWriter) {
    match entry.value {
        Some(value) => put(&[entry.id], out, |out| out.raw(value)),
        None if extent == Extent::Changes => remove(&[entry.id], out),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn text(extent: Extent, entries: &[(&str, Option<&str>)]) -> Vec<u8> {
        let mut out = StateWriter::new();
        begin(extent, &mut out);
        for (id, value) in entries {
            match value {
                Some(value) => put(&[&id.as_bytes()[..1], &id.as_bytes()[1..]], &mut out, |o| o.raw(value.as_bytes())),
                None => remove(&[id.as_bytes()], &mut out),
            }
        }
        end(&mut out);
        out.into_bytes()
    }

    fn apply(texts: &[&[u8]]) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for text in texts {
            let mut reader = StateReader::new(text);
            if read_head(&mut reader).unwrap() == Extent::Whole {
                all.clear();
            }
            while let Some(entry) = read(&mut reader).unwrap() {
                let string = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                match entry.value {
                    Some(value) => all.insert(string(entry.id), string(value)),
                    None => all.remove(&string(entry.id)),
                };
            }
            assert!(reader.is_empty());
        }
        all
    }

    #[test]
    fn merging_is_what_applying_one_after_the_other_is() {
        let whole = text(Extent::Whole, &[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]);
        let one = text(Extent::Changes, &[("b", None), ("d", Some("4")), ("a", Some("5"))]);
        let two = text(Extent::Changes, &[("b", Some("6")), ("d", None), ("e", Some("7"))]);
        let again = text(Extent::Whole, &[("z", Some("9"))]);
        for texts in [vec![&whole[..]], vec![&whole, &one], vec![&whole, &one, &two], vec![&whole, &one, &again, &two]]
        {
            let mut merged = StateWriter::new();
            merge(&texts, &mut merged).unwrap();
            assert_eq!(apply(&[merged.as_slice()]), apply(&texts));
            assert_eq!(merged.as_slice()[0], 0, "a whole");
        }
        let mut changes = StateWriter::new();
        merge(&[&one, &two], &mut changes).unwrap();
        assert_eq!(apply(&[&whole, changes.as_slice()]), apply(&[&whole, &one, &two]), "changes merge to changes");
        assert!(merge(&[], &mut StateWriter::new()).is_err());
        assert!(merge(&[&whole[..whole.len() - 1], &one], &mut StateWriter::new()).is_err());
    }
}
