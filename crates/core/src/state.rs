//! How state is written to and read from snapshots: little-endian, length-prefixed, no self-description.
//! Versions and checksums belong to the snapshot file around it.

use crate::codes::STATE_CORRUPT;
use crate::error::{Error, Result};

/// Appends values to a buffer.
#[derive(Debug, Default)]
pub struct StateWriter {
    bytes: Vec<u8>,
}

macro_rules! put {
    ($($name:ident: $type:ty),*) => { $(
        #[doc = concat!("Appends a `", stringify!($type), "`.")]
        pub fn $name(&mut self, value: $type) {
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
    )* };
}

impl StateWriter {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    put!(u8: u8, u32: u32, u64: u64, i64: i64, i128: i128, f64: f64);

    /// Appends a flag.
    pub fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// Appends bytes with their length.
    pub fn bytes(&mut self, value: &[u8]) {
        self.u64(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    /// Appends a string with its length.
    pub fn str(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// Appends bytes as they are.
    pub fn raw(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }

    /// Appends words as they are.
    pub fn words(&mut self, values: &[u64]) {
        let start = self.bytes.len();
        self.bytes.resize(start + values.len() * 8, 0);
        for (place, value) in self.bytes[start..].chunks_exact_mut(8).zip(values) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Appends what `write` appends, with its length, as [`StateWriter::bytes`] would.
    pub fn nested(&mut self, write: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.u64(0);
        write(self);
        let length = (self.bytes.len() - start - 8) as u64;
        self.bytes[start..start + 8].copy_from_slice(&length.to_le_bytes());
    }

    /// Appends an optional byte string.
    pub fn opt_bytes(&mut self, value: Option<&[u8]>) {
        self.bool(value.is_some());
        if let Some(value) = value {
            self.bytes(value);
        }
    }

    /// The bytes so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads what a [`StateWriter`] wrote; never past the end, never panics.
#[derive(Clone, Copy, Debug)]
pub struct StateReader<'a> {
    rest: &'a [u8],
}

macro_rules! take {
    ($($name:ident: $type:ty),*) => { $(
        #[doc = concat!("Reads a `", stringify!($type), "`.")]
        pub fn $name(&mut self) -> Result<$type> {
            let (head, rest) = self.rest.split_first_chunk().ok_or_else(short)?;
            self.rest = rest;
            Ok(<$type>::from_le_bytes(*head))
        }
    )* };
}

fn short() -> Error {
    Error::new(STATE_CORRUPT, "the state ends before all of it was read")
}

impl<'a> StateReader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    take!(u8: u8, u32: u32, u64: u64, i64: i64, i128: i128, f64: f64);

    /// Reads a flag.
    pub fn bool(&mut self) -> Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Error::new(STATE_CORRUPT, format!("a flag in the state is {other}, not 0 or 1"))),
        }
    }

    /// Reads a length that what is left can hold at `size` bytes an item: safe to allocate for.
    pub fn len(&mut self, size: usize) -> Result<usize> {
        let length = self.u64()?;
        if length > (self.rest.len() / size.max(1)) as u64 {
            return Err(short());
        }
        Ok(length as usize)
    }

    /// Reads bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.len(1)?;
        let (head, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(head)
    }

    /// Reads as many bytes, written as they are.
    pub fn raw(&mut self, length: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or_else(short)?;
        self.rest = rest;
        Ok(head)
    }

    /// Reads as many words, written as they are.
    pub fn words(&mut self, count: usize) -> Result<impl Iterator<Item = u64> + use<'a>> {
        let bytes = self.raw(count.checked_mul(8).ok_or_else(short)?)?;
        let (words, _) = bytes.as_chunks::<8>();
        Ok(words.iter().map(|word| u64::from_le_bytes(*word)))
    }

    /// Reads a string.
    pub fn str(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?)
            .map_err(|e| Error::new(STATE_CORRUPT, "a string in the state is not UTF-8").because(e))
    }

    /// Reads an optional byte string.
    pub fn opt_bytes(&mut self) -> Result<Option<&'a [u8]>> {
        if self.bool()? { self.bytes().map(Some) } else { Ok(None) }
    }

    /// Reads a flag, and all that is left if it is set.
    pub fn opt_rest(&mut self) -> Result<Option<&'a [u8]>> {
        let some = self.bool()?;
        let rest = some.then_some(self.rest);
        self.rest = &[];
        Ok(rest)
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}
