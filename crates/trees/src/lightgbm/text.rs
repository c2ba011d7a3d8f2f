//! The text of a LightGBM model: a header of `key=value` lines, a section for each tree, and what follows them.

use std::str::FromStr;

use crate::error::{LoadError, Place};

/// A model's text, cut into its sections.
pub(super) struct Document<'a> {
    pub(super) header: Section<'a>,
    pub(super) trees: Vec<Section<'a>>,
    /// The JSON behind `pandas_categorical:`.
    pub(super) pandas_categorical: Option<&'a str>,
}

/// The `key=value` lines of one section.
pub(super) struct Section<'a> {
    /// Which tree; `None` for the header.
    pub(super) tree: Option<usize>,
    lines: Vec<(&'a str, &'a str)>,
}

/// The value of a key, with its place for messages.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    key: &'a str,
    pub(super) text: &'a str,
    tree: Option<usize>,
}

impl<'a> Document<'a> {
    pub(super) fn split(text: &'a str) -> Result<Self, LoadError> {
        let mut header = Section { tree: None, lines: Vec::new() };
        let mut trees: Vec<Section<'a>> = Vec::new();
        let mut lines = text.trim_start_matches('\u{feff}').lines();
        let mut ended = false;
        for line in lines.by_ref() {
            let line = line.trim_ascii();
            if line == "end of trees" {
                ended = true;
                break;
            }
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            if key == "Tree" {
                let number = trees.len();
                if value.parse() != Ok(number) {
                    let problem =
                        format!("`{}` where `Tree={number}` belongs", line.chars().take(40).collect::<String>());
                    return Err(LoadError::malformed(Place::tree(number, "Tree"), problem));
                }
                trees.push(Section { tree: Some(number), lines: Vec::new() });
            } else if !key.is_empty() {
                trees.last_mut().unwrap_or(&mut header).lines.push((key, value));
            }
        }
        if !ended {
            let at = Place { part: "end of trees".into(), tree: trees.len().checked_sub(1), node: None };
            return Err(LoadError::malformed(at, "is missing; the file is cut short"));
        }
        if let Some(sizes) = header.find("tree_sizes") {
            let sizes = sizes.words().count();
            if sizes != trees.len() {
                let problem = format!("holds {sizes} numbers, the file has {} trees", trees.len());
                return Err(LoadError::malformed(Place::part("tree_sizes"), problem));
            }
        }
        let pandas_categorical = lines.find_map(|line| line.strip_prefix("pandas_categorical:"));
        Ok(Self { header, trees, pandas_categorical })
    }
}

impl<'a> Section<'a> {
    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// The value of a key; the last one counts.
    pub(super) fn find(&self, key: &str) -> Option<Entry<'a>> {
        let line = self.lines.iter().rev().find(|(k, _)| *k == key);
        line.map(|&(key, text)| Entry { key, text: text.trim_ascii(), tree: self.tree })
    }

    pub(super) fn get(&self, key: &str) -> Result<Entry<'a>, LoadError> {
        self.find(key).ok_or_else(|| LoadError::malformed(self.place(key), "is missing"))
    }

    pub(super) fn place(&self, part: &str) -> Place {
        Place { part: part.to_owned(), tree: self.tree, node: None }
    }

    /// A list of exactly `count` numbers.
    pub(super) fn list<T: FromStr>(&self, key: &str, count: usize) -> Result<Vec<T>, LoadError> {
        let entry = self.get(key)?;
        let values: Vec<T> = entry.list()?;
        if values.len() != count {
            return Err(entry.malformed(format!("holds {} numbers, {count} belong here", values.len())));
        }
        Ok(values)
    }
}

impl<'a> Entry<'a> {
    pub(super) fn malformed(&self, problem: impl Into<String>) -> LoadError {
        LoadError::malformed(Place { part: self.key.to_owned(), tree: self.tree, node: None }, problem)
    }

    pub(super) fn words(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.text.split_ascii_whitespace()
    }

    pub(super) fn list<T: FromStr>(&self) -> Result<Vec<T>, LoadError> {
        let parse = |(index, word): (usize, &str)| {
            let word_seen = || word.chars().take(40).collect::<String>();
            word.parse()
                .map_err(|_| self.malformed(format!("item {index} is `{}`, no number that belongs here", word_seen())))
        };
        self.words().enumerate().map(parse).collect()
    }

    /// A whole number from 0 to `max`.
    pub(super) fn count(&self, max: usize) -> Result<usize, LoadError> {
        self.text.parse().ok().filter(|&n| n <= max).ok_or_else(|| {
            let seen: String = self.text.chars().take(40).collect();
            self.malformed(format!("is `{seen}`; a whole number from 0 to {max} is allowed"))
        })
    }
}
