//! Keys of objects, found without hashing where objects look alike.
//!
//! Events of one producer mostly have the same keys in the same order. So it is remembered which key came
//! after which; the next key is nearly always the guessed one, and one comparison of bytes confirms it. What
//! was learned decides how fast a key is found, never what is found.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::cursor::Cursor;
use super::write;
use crate::codec::problem::Parsed;

/// Keys that are learned from events, besides those that are known from the start.
const LEARNED_KEYS_MAX: usize = 1024;
/// Bytes of a key that is worth learning.
const LEARNED_KEY_BYTES_MAX: usize = 128;
/// Keys behind the guessed one that are tried before a key is looked up.
const SKIPPED_KEYS_MAX: usize = 3;
/// No key.
const NONE: u32 = u32::MAX;

/// Where one stands in an object.
#[derive(Debug)]
pub(crate) struct Place {
    previous: u32,
    /// The key that probably comes next: looked up early, so that it is at hand when it is needed.
    guess: u32,
}

/// A key, and what its user knows of it.
#[derive(Debug)]
pub(crate) struct Key<T> {
    pub(crate) name: Box<str>,
    pub(crate) known: T,
    /// The key as JSON text, with its colon: words of eight bytes with masks, and its length.
    pattern: Box<[(u64, u64)]>,
    length: usize,
    /// The key that came next last time.
    next: u32,
}

/// The keys of one kind of object.
#[derive(Debug)]
pub(crate) struct Keys<T> {
    keys: Vec<Key<T>>,
    /// Bounded, so that no choice of keys can make it slow.
    index: HashMap<Box<str>, u32, FixedState>,
    first: u32,
    /// The last key that was not the guessed one, unescaped.
    name: Vec<u8>,
}

impl<T> Default for Keys<T> {
    fn default() -> Self {
        Self { keys: Vec::new(), index: HashMap::default(), first: NONE, name: Vec::new() }
    }
}

impl<T> Keys<T> {
    /// The key with a name; a new one is guessed to follow the one before it.
    pub(crate) fn declare(&mut self, name: &str, known: T) -> &mut Key<T> {
        let at = match self.index.get(name) {
            Some(&at) => at,
            None => {
                let last = self.keys.len().checked_sub(1).map_or(NONE, |last| last as u32);
                let at = self.add(name, known);
                self.follow(last, at);
                at
            }
        };
        &mut self.keys[at as usize]
    }

    fn add(&mut self, name: &str, known: T) -> u32 {
        let at = self.keys.len() as u32;
        let mut pattern = Vec::new();
        write::string(name, &mut pattern);
        pattern.push(b':');
        let length = pattern.len();
        self.keys.push(Key { name: name.into(), known, pattern: words(&pattern), length, next: NONE });
        self.index.insert(name.into(), at);
        at
    }

    fn follow(&mut self, previous: u32, at: u32) {
        match self.keys.get_mut(previous as usize) {
            Some(previous) => previous.next = at,
            None => self.first = at,
        }
    }

    /// The place at the start of an object.
    pub(crate) fn start(&self) -> Place {
        Place { previous: NONE, guess: self.first }
    }

    /// Reads the key at the cursor and its colon, up to the value. `learn` says what is known of
    /// a key not seen before. Gives `None` for a key that is not known and not worth learning:
    /// [`Keys::unknown`] is its name then.
    #[inline]
    pub(crate) fn read(
        &mut self,
        cursor: &mut Cursor<'_>,
        place: &mut Place,
        learn: impl FnOnce(&str) -> Parsed<T>,
    ) -> Parsed<Option<&mut Key<T>>> {
        cursor.space();
        let at = match self.keys.get(place.guess as usize) {
            Some(key) if cursor.eat_words(&key.pattern, key.length) => {
                cursor.space();
                place.guess
            }
            _ => self.find(cursor, place, learn)?,
        };
        let key = self.keys.get_mut(at as usize);
        if let Some(key) = &key {
            *place = Place { previous: at, guess: key.next };
        }
        Ok(key)
    }

    /// Reads a key that was not the guessed one.
    #[inline(never)]
    fn find(&mut self, cursor: &mut Cursor<'_>, place: &Place, learn: impl FnOnce(&str) -> Parsed<T>) -> Parsed<u32> {
        // Some events leave fields out: perhaps it is one of those behind.
        let mut guess = place.guess;
        for _ in 0..SKIPPED_KEYS_MAX {
            let Some(skipped) = self.keys.get(guess as usize) else { break };
            guess = skipped.next;
            if self.keys.get(guess as usize).is_some_and(|key| cursor.eat_words(&key.pattern, key.length)) {
                cursor.space();
                return Ok(guess);
            }
        }
        let key = cursor.string()?;
        let mut unescaped = std::mem::take(&mut self.name);
        unescaped.clear();
        let name = key.text(&mut unescaped)?;
        cursor.colon()?;
        let at = match self.index.get(name) {
            Some(&at) => at,
            None => {
                let known = learn(name)?;
                let fits = self.keys.len() < LEARNED_KEYS_MAX && name.len() <= LEARNED_KEY_BYTES_MAX;
                if fits { self.add(name, known) } else { NONE }
            }
        };
        if at == NONE {
            if !key.escaped {
                unescaped.extend_from_slice(key.raw.as_bytes());
            }
        } else {
            self.follow(place.previous, at);
        }
        self.name = unescaped;
        Ok(at)
    }

    /// The name of the key for which [`Keys::read`] just gave `None`.
    pub(crate) fn unknown(&self) -> &str {
        std::str::from_utf8(&self.name).unwrap_or_default()
    }
}

/// A key's bytes as words, the last one with zeros in its mask where the key has ended.
fn words(bytes: &[u8]) -> Box<[(u64, u64)]> {
    let word = |chunk: &[u8]| {
        let (mut word, mut mask) = ([0; 8], [0; 8]);
        for ((word, mask), byte) in word.iter_mut().zip(&mut mask).zip(chunk) {
            (*word, *mask) = (*byte, 0xFF);
        }
        (u64::from_le_bytes(word), u64::from_le_bytes(mask))
    };
    bytes.chunks(8).map(word).collect()
}
