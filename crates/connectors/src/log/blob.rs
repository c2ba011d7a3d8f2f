//! A blob: a run of records of one partition as the log stores them, under one key.
//!
//! ```text
//! version u8 = 1 | flags u8 (1: lz4) | 0 u16 | crc32c u32 of everything else
//! count u32 | appended_ms i64 | payload length before compression u32 | payload
//! a record: key length u32 | value length u32 (2^32-1: none) | timestamp_ms i64 | headers u32 | key | value
//! a header: name length u32 | value length u32 | name | value
//! ```
//! All little-endian. The offset of the first record is the blob's key, and the others follow without gaps.
//! Compression happens here, once, instead of in the store's journal and again in its tables.

use millstream_core::record::Header;
use millstream_core::{Error, RawBatch, Result};

use crate::codes::LOG_DAMAGED;

/// Records of a blob; a reader that starts in the middle skips over less than this many.
pub(super) const RECORDS_MAX: usize = 4096;
/// Bytes of a blob's records before a new blob is begun; one record may be larger.
pub(super) const BYTES_TARGET: usize = 1 << 20;
/// The largest record the log takes.
pub const RECORD_BYTES_MAX: usize = 256 << 20;

const VERSION: u8 = 1;
const LZ4: u8 = 1;
const HEAD: usize = 24;
const NONE: u32 = u32::MAX;
/// Payloads below this are not worth compressing.
const COMPRESS_MIN: usize = 512;

/// A finished blob: its bytes and how many records they hold.
pub(super) struct Blob {
    pub(super) bytes: Vec<u8>,
    pub(super) count: u32,
}

/// Collects records into blobs.
#[derive(Default)]
pub(super) struct BlobWriter {
    payload: Vec<u8>,
    count: u32,
    done: Vec<Blob>,
    appended_ms: i64,
}

impl BlobWriter {
    pub(super) fn new(appended_ms: i64) -> Self {
        Self { appended_ms, ..Self::default() }
    }

    pub(super) fn push(&mut self, key: Option<&[u8]>, value: Option<&[u8]>, timestamp_ms: i64, headers: &[Header]) {
        if self.count as usize >= RECORDS_MAX || self.payload.len() >= BYTES_TARGET {
            self.cut();
        }
        let out = &mut self.payload;
        out.extend_from_slice(&key.map_or(NONE, |k| k.len() as u32).to_le_bytes());
        out.extend_from_slice(&value.map_or(NONE, |v| v.len() as u32).to_le_bytes());
        out.extend_from_slice(&timestamp_ms.to_le_bytes());
        out.extend_from_slice(&(headers.len() as u32).to_le_bytes());
        out.extend_from_slice(key.unwrap_or_default());
        out.extend_from_slice(value.unwrap_or_default());
        for header in headers {
            out.extend_from_slice(&(header.name.len() as u32).to_le_bytes());
            out.extend_from_slice(&(header.value.len() as u32).to_le_bytes());
            out.extend_from_slice(header.name.as_bytes());
            out.extend_from_slice(&header.value);
        }
        self.count += 1;
    }

    fn cut(&mut self) {
        if self.count == 0 {
            return;
        }
        let mut bytes = Vec::with_capacity(HEAD + self.payload.len());
        bytes.extend_from_slice(&[VERSION, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&self.count.to_le_bytes());
        bytes.extend_from_slice(&self.appended_ms.to_le_bytes());
        bytes.extend_from_slice(&(self.payload.len() as u32).to_le_bytes());
        let compressed =
            if self.payload.len() >= COMPRESS_MIN { lz4_flex::block::compress(&self.payload) } else { Vec::new() };
        if !compressed.is_empty() && compressed.len() < self.payload.len() / 8 * 7 {
            bytes[1] = LZ4;
            bytes.extend_from_slice(&compressed);
        } else {
            bytes.extend_from_slice(&self.payload);
        }
        let crc = checksum(&bytes);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        self.done.push(Blob { bytes, count: self.count });
        self.payload.clear();
        self.count = 0;
    }

    pub(super) fn finish(mut self) -> Vec<Blob> {
        self.cut();
        self.done
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(bytes.get(..4).unwrap_or_default()), bytes.get(8..).unwrap_or_default())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    Some(i64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// What the front of a blob says; its checksum is not looked at.
pub(super) struct BlobHead {
    pub(super) count: u32,
    pub(super) appended_ms: i64,
}

pub(super) fn head(bytes: &[u8]) -> Option<BlobHead> {
    if bytes.first() != Some(&VERSION) {
        return None;
    }
    Some(BlobHead { count: u32_at(bytes, 8)?, appended_ms: i64_at(bytes, 12)? })
}

fn damaged(what: &str) -> Error {
    Error::new(LOG_DAMAGED, format!("a blob of records is damaged: {what}"))
        .help("restore the log's folder from a backup, or delete the topic and write it again")
}

/// Reads the records of one blob in order.
#[derive(Default)]
pub(super) struct BlobReader {
    payload: Vec<u8>,
    at: usize,
    next: u64,
    end: u64,
}

/// One record inside a blob.
struct View<'a> {
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    timestamp_ms: i64,
    headers: Vec<Header>,
}

impl BlobReader {
    /// Checks the bytes of a blob whose first record has offset `base`, and keeps them decompressed.
    pub(super) fn load(&mut self, base: u64, bytes: &[u8]) -> Result<()> {
        self.end = self.next;
        let front = head(bytes).ok_or_else(|| damaged("it has an unknown version or is too short"))?;
        let stored = u32_at(bytes, 4).unwrap_or_default();
        if stored != checksum(bytes) {
            return Err(damaged("its checksum does not match"));
        }
        let length = u32_at(bytes, 20).ok_or_else(|| damaged("it is too short"))? as usize;
        let body = bytes.get(HEAD..).unwrap_or_default();
        self.payload.clear();
        if bytes.get(1) == Some(&LZ4) {
            self.payload.resize(length, 0);
            let got = lz4_flex::block::decompress_into(body, &mut self.payload)
                .map_err(|e| damaged("it does not decompress").because(e))?;
            if got != length {
                return Err(damaged("it decompresses to another length"));
            }
        } else {
            self.payload.extend_from_slice(body);
        }
        self.at = 0;
        self.next = base;
        self.end = base + u64::from(front.count);
        Ok(())
    }

    /// The offset of the record that comes next, unless the blob is used up.
    pub(super) fn next_offset(&self) -> Option<u64> {
        (self.next < self.end).then_some(self.next)
    }

    /// Forgets the blob.
    pub(super) fn reset(&mut self) {
        self.end = self.next;
    }

    /// Moves past the records before `offset`.
    pub(super) fn skip_to(&mut self, offset: u64) -> Result<()> {
        while self.next < self.end && self.next < offset {
            self.step(false)?;
        }
        Ok(())
    }

    /// Appends the next record to `out`.
    pub(super) fn take(&mut self, out: &mut RawBatch) -> Result<()> {
        let offset = self.next;
        if let Some(view) = self.step(true)? {
            out.push(offset, view.timestamp_ms, view.key, view.value, &view.headers);
        }
        Ok(())
    }

    fn step(&mut self, whole: bool) -> Result<Option<View<'_>>> {
        if self.next >= self.end {
            return Ok(None);
        }
        let short = || damaged("it ends inside a record");
        let bytes = self.payload.as_slice();
        let mut at = self.at;
        let mut number = |width: usize| {
            let start = at;
            at += width;
            start
        };
        let key_length = u32_at(bytes, number(4)).ok_or_else(short)?;
        let value_length = u32_at(bytes, number(4)).ok_or_else(short)?;
        let timestamp_ms = i64_at(bytes, number(8)).ok_or_else(short)?;
        let header_count = u32_at(bytes, number(4)).ok_or_else(short)?;
        let mut part = |length: u32| -> Result<Option<&[u8]>> {
            if length == NONE {
                return Ok(None);
            }
            let end = at + length as usize;
            let slice = bytes.get(at..end).ok_or_else(short)?;
            at = end;
            Ok(Some(slice))
        };
        let key = part(key_length)?;
        let value = part(value_length)?;
        let mut headers = Vec::new();
        for _ in 0..header_count {
            let name_length = part(4)?.and_then(|b| u32_at(b, 0)).ok_or_else(short)?;
            let value_length = part(4)?.and_then(|b| u32_at(b, 0)).ok_or_else(short)?;
            let name = part(name_length)?.unwrap_or_default();
            let value = part(value_length)?.unwrap_or_default();
            if whole {
                let name = String::from_utf8_lossy(name).into_owned();
                headers.push(Header { name, value: value.to_vec() });
            }
        }
        self.at = at;
        self.next += 1;
        Ok(Some(View { key, value, timestamp_ms, headers }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blobs(records: usize, size: usize) -> Vec<Blob> {
        let mut writer = BlobWriter::new(7);
        let headers = [Header { name: "h".into(), value: vec![1, 2] }];
        for i in 0..records {
            let value = format!("{i:0size$}");
            let headers = if i % 3 == 0 { &headers[..] } else { &[] };
            writer.push((i % 2 == 0).then_some(b"key"), Some(value.as_bytes()), i as i64, headers);
        }
        writer.finish()
    }

    #[test]
    fn records_come_back_from_the_middle() {
        for size in [1, 500] {
            let blobs = blobs(5000, size);
            assert!(blobs.len() >= 2);
            let mut base = 100;
            let mut reader = BlobReader::default();
            for blob in &blobs {
                reader.load(base, &blob.bytes).unwrap();
                reader.skip_to(base + 9).unwrap();
                let mut out = RawBatch::new(millstream_core::TaskId::new(0));
                while reader.next_offset().is_some() {
                    reader.take(&mut out).unwrap();
                }
                assert_eq!(out.len() as u32, blob.count - 9);
                for i in 0..out.len() {
                    let n = out.offset(i) - 100;
                    assert_eq!(out.value(i).unwrap(), format!("{n:0size$}").as_bytes());
                    assert_eq!(out.key(i).is_some(), n.is_multiple_of(2));
                    assert_eq!(out.headers(i).len(), usize::from(n.is_multiple_of(3)));
                    assert_eq!(out.timestamp_ms(i), n as i64);
                }
                base += u64::from(blob.count);
            }
            assert_eq!(base, 5100);
        }
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        for size in [1, 300] {
            let blob = &blobs(4, size)[0];
            for i in 0..blob.bytes.len() {
                let mut bytes = blob.bytes.clone();
                bytes[i] ^= 0x10;
                assert!(BlobReader::default().load(0, &bytes).is_err(), "byte {i}");
            }
            for length in 0..blob.bytes.len() {
                assert!(BlobReader::default().load(0, &blob.bytes[..length]).is_err(), "length {length}");
            }
        }
    }
}
