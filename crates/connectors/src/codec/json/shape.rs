//! What to do with each key of an object.

use std::collections::HashSet;

use super::cursor::Cursor;
use super::keys::Keys;
use crate::codec::codes::{DUPLICATE_KEY, UNDECLARED, WRONG_TYPE};
use crate::codec::columns::Slot;
use crate::codec::problem::{Parsed, Problem, shorten};

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

/// What is known of a key.
#[derive(Debug)]
struct Known {
    action: Action,
    /// The last object it was seen in.
    seen: u64,
}

impl Known {
    const UNDECLARED: Self = Self { action: Action::Skip, seen: 0 };
}

/// The keys of one kind of object, and what to do with each.
#[derive(Debug, Default)]
pub(crate) struct Shape {
    keys: Keys<Known>,
    strict: bool,
    /// Counts the objects read.
    object: u64,
    /// Keys of the present object that are not in `keys`.
    others: HashSet<Box<str>>,
}

impl Shape {
    pub(crate) fn new(strict: bool) -> Self {
        Self { strict, ..Self::default() }
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
        let action = &mut self.keys.declare(name, Known::UNDECLARED).known.action;
        if rest.is_empty() {
            action.and(Action::Fill(column));
        } else if let Some(inner) = action.entered() {
            inner.declare(rest, column);
        } else {
            let mut inner = Box::new(Self::new(strict));
            inner.declare(rest, column);
            action.and(Action::Enter(inner));
        }
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
        let strict = self.strict;
        let learn = |name: &str| if strict { Err(undeclared(name)) } else { Ok(Known::UNDECLARED) };
        let mut place = self.keys.start();
        loop {
            match self.keys.read(cursor, &mut place, learn)? {
                Some(key) => {
                    if key.known.seen == self.object {
                        return Err(duplicate(&key.name));
                    }
                    key.known.seen = self.object;
                    let action = &mut key.known.action;
                    action.apply(cursor, slots).map_err(|problem| name_path(problem, action, &key.name))?;
                }
                None => {
                    let name = self.keys.unknown();
                    if !self.others.insert(name.into()) {
                        return Err(duplicate(name));
                    }
                    cursor.skip_value()?;
                }
            }
            cursor.space();
            if !cursor.eat(b',') {
                break;
            }
        }
        if cursor.eat(b'}') { Ok(()) } else { Err(cursor.unexpected("`,` or `}`")) }
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

/// Adds the key to a problem's path, unless a column's own name already stands there.
#[cold]
fn name_path(problem: Box<Problem>, action: &Action, name: &str) -> Box<Problem> {
    let entered = matches!(action, Action::Enter(_) | Action::All(_));
    if entered && !problem.names_column() { problem.inside(name) } else { problem }
}

#[cold]
fn undeclared(name: &str) -> Box<Problem> {
    Problem::new(UNDECLARED, "the schema does not declare it, and the source is `strict`").inside(name)
}

#[cold]
fn duplicate(name: &str) -> Box<Problem> {
    Problem::new(DUPLICATE_KEY, format!("the key `{}` stands twice in one object", shorten(name)))
}
