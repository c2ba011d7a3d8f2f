//! One input file, opened: plain, gzip (any number of members) or zstd (any number of frames).

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millstream_core::{Error, Result};

use crate::codes::{COMPRESSED_DAMAGED, NOT_NAMED_COMPRESSED};
use crate::file::paths::{Compression, unreadable};

/// A file that tells how far it was read.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read(buf)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// The decompressed bytes of a file.
pub(super) struct Input {
    name: String,
    compression: Compression,
    reader: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
    /// Which file it is, where the system tells: device and number.
    pub(super) id: Option<(u64, u64)>,
}

impl Input {
    /// Opens a file at its front, or a plain one at byte `at`.
    pub(super) fn open(name: &str, path: &Path, at: u64) -> Result<Self> {
        let failed = |e| unreadable(name, e);
        let compression = Compression::of(name);
        let mut file = File::open(path).map_err(failed)?;
        if compression == Compression::None {
            sniff(name, &mut file).map_err(failed)??;
        }
        file.seek(SeekFrom::Start(at)).map_err(failed)?;
        let id = file.metadata().ok().and_then(|m| identity(&m));
        let read = Arc::new(AtomicU64::new(at));
        let counted = Counted { file, read: read.clone() };
        let reader: Box<dyn Read + Send> = match compression {
            Compression::None => Box::new(counted),
            Compression::Gzip => {
                Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(64 << 10, counted)))
            }
            Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(counted).map_err(failed)?),
        };
        Ok(Self { name: name.to_owned(), compression, reader, read, id })
    }

    /// Bytes of the file that were read, as they stand on the disk.
    pub(super) fn read_bytes(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// What went wrong while reading, in the user's terms.
    pub(super) fn explain(&self, byte: u64, e: std::io::Error) -> Error {
        if self.compression == Compression::None {
            return unreadable(&self.name, e);
        }
        let what = match e.kind() {
            std::io::ErrorKind::UnexpectedEof => "ends too early",
            _ => "does not decompress",
        };
        Error::new(COMPRESSED_DAMAGED, format!("`{}` {what}, after {byte} decompressed bytes", self.name))
            .help("it was cut short or damaged on its way here: fetch it again, and start again; what was read stays read")
            .because(e)
    }
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.reader.read(buf)
    }
}

/// A plain name with compressed bytes behind it would give a dead letter for each newline among them.
fn sniff(name: &str, file: &mut File) -> std::io::Result<Result<()>> {
    let mut magic = [0; 4];
    let mut got = 0;
    while got < magic.len() {
        match file.read(&mut magic[got..])? {
            0 => break,
            n => got += n,
        }
    }
    let (kind, extension) = match magic {
        [0x1f, 0x8b, ..] => ("gzip", ".gz"),
        [0x28, 0xb5, 0x2f, 0xfd] => ("zstd", ".zst"),
        _ => return Ok(Ok(())),
    };
    Ok(Err(Error::new(NOT_NAMED_COMPRESSED, format!("`{name}` is compressed with {kind}, but not named so"))
        .help(format!("give it a name that ends in `{extension}`"))))
}

#[cfg(unix)]
pub(super) fn identity(meta: &std::fs::Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((meta.dev(), meta.ino()))
}

#[cfg(not(unix))]
pub(super) fn identity(_: &std::fs::Metadata) -> Option<(u64, u64)> {
    None
}
