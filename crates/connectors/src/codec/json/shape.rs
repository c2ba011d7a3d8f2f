//! What to do with each key of an object, found without hashing where events look alike.
//!
//! A shape remembers which key came after which. Events of one producer mostly have the same keys in the same
//! order, so the next key is nearly always the guessed one, and one comparison of bytes confirms it. What
//! was learned decides how fast an object is read, never what is read.

use std::collections::{HashMap, HashSet};

use crate::codec::codes::{DUPLICATE_KEY, UNDECLARED, WRONG_TYPE};
use crate::codec::columns::Slot;
use crate::codec::json::cursor::Cursor;
use crate::codec::problem::{Parsed, Problem, shorten};

/// Undeclared keys that a shape remembers.
const LEARNED_KEYS_MAX: usize = 1024;
/// Bytes of a key that is worth remembering.
const LEARNED_KEY_BYTES_MAX: usize = 128;
const NONE: u32 = u32::MAX;

/// What happens to the value of a key.
#[derive(Debug)]
enum Action {
    Skip,
    /// The value goes to a column.
    Fill(u32),
    /// The value is an object that holds fields (`from: a.b`).
    Enter(Box<Shape>),
    /// Several of these.
    All(Vec<Action>),
}

#[derive(Debug)]
struct Entry {
    /// The key as JSON text, with its colon: words of eight bytes with masks, and its length.
    pattern: Box<[(u64, u64)]>,
    length: usize,
    name: Box<str>,
    action: Action,
    /// The last object this key was seen in.
    seen: u64,
    /// The key that came next last time.
    next: u32,
}

/// The keys of one kind of object.
#[derive(Debug, Default)]
pub(crate) struct Shape {
    entries: Vec<Entry>,
    index: HashMap<Box<str>, u32>,
    first: u32,
    /// Counts the objects read.
    object: u64,
    strict: bool,
    /// Keys of the present object beyond those remembered.
    others: HashSet<Vec<u8>>,
    key: Vec<u8>,
}

impl Shape {
    pub(crate) fn new(strict: bool) -> Self {
        Self { strict, first: NONE, ..Self::default() }
    }

    /// The shape of an object whose keys are columns, in this order.
    pub(crate) fn of_names<'a>(names: impl Iterator<Item = &'a str>, strict: bool) -> Self {
        let mut shape = Self::new(strict);
        for (column, name) in names.enumerate() {
            shape.declare(&[name.to_owned()], column as u32);
        }
        shape
    }

    /// Sends the value at `path` to a column.
    pub(crate) fn declare(&mut self, path: &[String], column: u32) {
        let Some((name, rest)) = path.split_first() else { return };
        let strict = self.strict;
        let at = match self.index.get(name.as_str()) {
            Some(&at) => at,
            None => {
                // Until events teach better: as declared.
                let at = self.add(name);
                match self.entries.iter_mut().rev().nth(1) {
                    Some(previous) => previous.next = at,
                    None => self.first = at,
                }
                at
            }
        };
        let Some(entry) = self.entries.get_mut(at as usize) else { return };
        if rest.is_empty() {
            entry.action.and(Action::Fill(column));
        } else if let Some(inner) = entry.action.entered() {
            inner.declare(rest, column);
        } else {
            let mut inner = Box::new(Self::new(strict));
            inner.declare(rest, column);
            entry.action.and(Action::Enter(inner));
        }
    }

    fn add(&mut self, name: &str) -> u32 {
        let at = self.entries.len() as u32;
        let mut pattern = Vec::new();
        super::write::string(name, &mut pattern);
        pattern.push(b':');
        self.entries.push(Entry {
            pattern: words(&pattern),
            length: pattern.len(),
            name: name.into(),
            action: Action::Skip,
            seen: 0,
            next: NONE,
        });
        self.index.insert(name.into(), at);
        at
    }

    /// Reads the object that begins at the cursor, filling columns. On an error columns may hold values of
    /// this row; the caller cuts them off.
    pub(crate) fn read(&mut self, cursor: &mut Cursor<'_>, slots: &mut [Slot]) -> Parsed<()> {
        if !cursor.eat(b'{') {
            return Err(cursor.unexpected("`{`"));
        }
        self.object += 1;
        if !self.others.is_empty() {
            self.others.clear();
        }
        cursor.space();
        if cursor.eat(b'}') {
            return Ok(());
        }
        let mut previous = NONE;
        let mut guess = self.first;
        loop {
            let at = match self.entries.get(guess as usize) {
                Some(entry) if cursor.eat_words(&entry.pattern, entry.length) => {
                    cursor.space();
                    guess
                }
                _ => self.find(cursor, previous)?,
            };
            match self.entries.get_mut(at as usize) {
                None => cursor.skip_value()?,
                Some(entry) => {
                    if entry.seen == self.object {
                        return Err(duplicate(&entry.name));
                    }
                    entry.seen = self.object;
                    guess = entry.next;
                    previous = at;
                    entry
                        .action
                        .apply(cursor, slots)
                        .map_err(|problem| name_path(problem, &entry.action, &entry.name))?;
                }
            }
            cursor.space();
            if cursor.eat(b',') {
                // A guessed key follows at once; space before it is the business of `find`.
            } else if cursor.eat(b'}') {
                return Ok(());
            } else {
                return Err(cursor.unexpected("`,` or `}`"));
            }
        }
    }

    /// Reads a key that was not the guessed one, up to its value. [`NONE`] is a key that nobody asks for and
    /// that is not remembered.
    fn find(&mut self, cursor: &mut Cursor<'_>, previous: u32) -> Parsed<u32> {
        cursor.space();
        let key = cursor.string()?;
        self.key.clear();
        if key.escaped {
            key.unescape(&mut self.key)?;
        } else {
            self.key.extend_from_slice(key.raw.as_bytes());
        }
        cursor.colon()?;
        let name = std::str::from_utf8(&self.key).unwrap_or_default();
        let mut at = self.index.get(name).copied().unwrap_or(NONE);
        if at == NONE {
            if self.strict {
                let problem = Problem::new(UNDECLARED, "the schema does not declare it, and the source is `strict`");
                return Err(problem.inside(name));
            }
            if self.entries.len() < LEARNED_KEYS_MAX && name.len() <= LEARNED_KEY_BYTES_MAX {
                let name = name.to_owned();
                at = self.add(&name);
            } else if !self.others.insert(self.key.clone()) {
                return Err(duplicate(name));
            }
        }
        if at != NONE {
            match self.entries.get_mut(previous as usize) {
                Some(previous) => previous.next = at,
                None => self.first = at,
            }
        }
        Ok(at)
    }
}

impl Action {
    fn and(&mut self, other: Self) {
        match self {
            Self::Skip => *self = other,
            Self::All(actions) => actions.push(other),
            _ => {
                let first = std::mem::replace(self, Self::Skip);
                *self = Self::All(vec![first, other]);
            }
        }
    }

    fn entered(&mut self) -> Option<&mut Shape> {
        match self {
            Self::Enter(shape) => Some(shape),
            Self::All(actions) => actions.iter_mut().find_map(Self::entered),
            _ => None,
        }
    }

    #[inline]
    fn apply(&mut self, cursor: &mut Cursor<'_>, slots: &mut [Slot]) -> Parsed<()> {
        match self {
            Self::Skip => cursor.skip_value(),
            Self::Fill(column) => match slots.get_mut(*column as usize) {
                Some(slot) => slot.read(cursor),
                None => cursor.skip_value(),
            },
            Self::Enter(shape) => match cursor.peek() {
                Some(b'{') => shape.read(cursor, slots),
                // The fields inside count as absent.
                Some(b'n') => cursor.literal("null"),
                _ => {
                    let seen = cursor.describe_value()?;
                    Err(Problem::new(WRONG_TYPE, format!("saw {seen}, wanted an object")))
                }
            },
            Self::All(actions) => {
                let start = cursor.at;
                for action in actions {
                    cursor.at = start;
                    action.apply(cursor, slots)?;
                }
                Ok(())
            }
        }
    }
}

/// Adds the key to a problem's path, unless the column's own name already stands there.
fn name_path(problem: Box<Problem>, action: &Action, name: &str) -> Box<Problem> {
    match action {
        Action::Enter(_) if !problem.names_column() => problem.inside(name),
        _ => problem,
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

#[cold]
fn duplicate(name: &str) -> Box<Problem> {
    Problem::new(DUPLICATE_KEY, format!("the key `{}` stands twice in one object", shorten(name)))
}
