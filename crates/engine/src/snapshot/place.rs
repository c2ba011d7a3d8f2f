//! Where state is kept: a local directory or an object store, as one small blocking interface.
//!
//! Local files are written here and not through `object_store`, whose local store neither syncs a file nor its
//! directory: a loss of power could leave a manifest that names empty data. Remote stores retry by themselves, for at
//! most [`RETRY_FOR`]. Called from the threads that write snapshots and start tasks; the calling thread drives the I/O.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use millstream_core::{Error, Result};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path as Key;
use object_store::{BackoffConfig, ObjectStore, ObjectStoreExt as _, ObjectStoreScheme, PutPayload, RetryConfig};
use tokio::runtime::Runtime;

use crate::codes::STATE_LOCATION;

/// How long a request to an object store is tried again before the operation fails.
const RETRY_FOR: Duration = Duration::from_secs(60);
/// Tries of one request within that time.
const RETRIES_MAX: usize = 12;
/// Bytes of a request: larger objects are written and read in parts, so that none takes longer than its timeout.
const PART_BYTES: usize = 16 << 20;
/// Parts of one object under way at once.
const PARTS_AT_ONCE: usize = 4;

/// A directory of objects with names like `a/b/c`.
pub(crate) struct Place {
    kind: Kind,
    /// As the user gave it.
    name: String,
}

enum Kind {
    Local(PathBuf),
    Remote { store: Arc<dyn ObjectStore>, prefix: Key, runtime: Runtime },
}

/// Why an operation failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// There is no such object.
    Missing,
    /// The local disk says no.
    Local(io::Error),
    /// The object store says no.
    Remote(object_store::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Missing } else { Self::Local(error) }
    }
}

impl From<object_store::Error> for Fault {
    fn from(error: object_store::Error) -> Self {
        if matches!(error, object_store::Error::NotFound { .. }) { Self::Missing } else { Self::Remote(error) }
    }
}

impl Fault {
    /// What the user can do.
    pub(crate) fn help(&self) -> &'static str {
        use object_store::Error as E;
        match self {
            Self::Missing => "another process may have removed it; nothing is lost, but a restart may take longer",
            Self::Local(e) if matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                "free some space, or point `state:` to another place; until then a restart takes longer and longer"
            }
            Self::Local(e)
                if matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) =>
            {
                "let this user write there, or point `state:` to another place"
            }
            Self::Local(_) => "look at the disk, or point `state:` to another place",
            Self::Remote(E::NotFound { .. }) => "create the bucket, or correct `state:`",
            Self::Remote(E::PermissionDenied { .. }) => {
                "the credentials in the environment need leave to list, read, write and delete below `state:`"
            }
            Self::Remote(E::Unauthenticated { .. }) => {
                "set the store's credentials in the environment (AWS_*, GOOGLE_*, AZURE_*) or give the machine a role"
            }
            Self::Remote(_) => "look at the store, the network and the credentials in the environment",
        }
    }

    /// As the cause of an error.
    pub(crate) fn cause(self) -> Box<dyn std::error::Error + Send + Sync> {
        match self {
            Self::Missing => "there is no such object".into(),
            Self::Local(error) => error.into(),
            Self::Remote(error) => error.into(),
        }
    }
}

impl Place {
    /// A path, or a URL with `s3://`, `gs://`, `az://` (and their kin) or `file://`.
    pub(crate) fn open(name: &str) -> Result<Self> {
        let kind = match url::Url::parse(name) {
            // `C:\state` is a path, not a URL.
            Ok(url) if url.scheme().len() > 1 => remote(name, &url)?,
            _ => Kind::Local(PathBuf::from(name)),
        };
        Ok(Self { kind, name: name.to_owned() })
    }

    /// As the user gave it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is a directory below another.
    pub(crate) fn is_below(&self, dir: &Path) -> bool {
        matches!(&self.kind, Kind::Local(root) if root.starts_with(dir))
    }

    /// Writes an object: afterwards it is there, durable and whole, or (after an error) as it was.
    pub(crate) fn put(&self, name: &str, parts: &[&[u8]]) -> Result<(), Fault> {
        match &self.kind {
            Kind::Local(root) => Ok(put_local(&root.join(name), parts)?),
            Kind::Remote { store, prefix, runtime } => {
                // Nothing is missing when something is put but the bucket.
                runtime.block_on(put_remote(store.as_ref(), &key(prefix, name), parts)).map_err(Fault::Remote)
            }
        }
    }

    /// Reads an object of which the size is known.
    pub(crate) fn get(&self, name: &str, size: u64) -> Result<Vec<u8>, Fault> {
        match &self.kind {
            Kind::Local(root) => Ok(fs::read(root.join(name))?),
            Kind::Remote { store, prefix, runtime } => {
                Ok(runtime.block_on(get_remote(store.as_ref(), &key(prefix, name), size))?)
            }
        }
    }

    /// Reads an object, if there is one, that may have any size.
    pub(crate) fn get_any(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        let size = match &self.kind {
            Kind::Local(_) => Ok(0),
            Kind::Remote { store, prefix, runtime } => {
                let head = runtime.block_on(store.head(&key(prefix, name)));
                head.map(|meta| meta.size).map_err(Fault::from)
            }
        };
        match size.and_then(|size| self.get(name, size)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Fault::Missing) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The objects right below `dir`: names without `dir`, sorted.
    pub(crate) fn list(&self, dir: &str) -> Result<Vec<String>, Fault> {
        let mut names = match &self.kind {
            Kind::Local(root) => match fs::read_dir(root.join(dir)) {
                Ok(entries) => entries
                    .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                    .collect::<io::Result<Vec<_>>>()?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
                Err(e) => return Err(e.into()),
            },
            Kind::Remote { store, prefix, runtime } => {
                let listed = runtime.block_on(store.list_with_delimiter(Some(&key(prefix, dir))));
                let listed = listed.map_err(Fault::Remote)?;
                listed.objects.iter().filter_map(|o| o.location.filename().map(str::to_owned)).collect()
            }
        };
        names.sort_unstable();
        Ok(names)
    }

    /// Removes an object; none to remove is no fault.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Fault> {
        let removed = match &self.kind {
            Kind::Local(root) => fs::remove_file(root.join(name)).map_err(Fault::from),
            Kind::Remote { store, prefix, runtime } => {
                runtime.block_on(store.delete(&key(prefix, name))).map_err(Fault::from)
            }
        };
        if let Err(Fault::Missing) = removed { Ok(()) } else { removed }
    }

    /// Removes all below `dir`.
    pub(crate) fn remove_all(&self, dir: &str) -> Result<(), Fault> {
        match &self.kind {
            Kind::Local(root) => match fs::remove_dir_all(root.join(dir)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.into()),
                _ => Ok(()),
            },
            Kind::Remote { store, prefix, runtime } => runtime.block_on(async {
                let objects = store.list(Some(&key(prefix, dir))).map_ok(|meta| meta.location).boxed();
                store.delete_stream(objects).try_for_each(|_| async { Ok(()) }).await?;
                Ok(())
            }),
        }
    }
}

fn key(prefix: &Key, name: &str) -> Key {
    name.split('/').filter(|part| !part.is_empty()).fold(prefix.clone(), |key, part| key.join(part))
}

fn refused(name: &str, why: &str) -> Error {
    Error::new(STATE_LOCATION, format!("`state: {name}` can't be used: {why}"))
        .help("give a folder, or a URL like `s3://bucket/folder`, `gs://bucket/folder` or `az://container/folder`")
}

fn remote(name: &str, url: &url::Url) -> Result<Kind> {
    use ObjectStoreScheme as S;
    let (scheme, prefix) = ObjectStoreScheme::parse(url)
        .map_err(|_| refused(name, &format!("`{}://` is none of the kinds of place that are known", url.scheme())))?;
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
            base: 2.0,
        },
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_FOR,
    };
    let store: object_store::Result<Arc<dyn ObjectStore>> = match scheme {
        S::Local => {
            let path = url.to_file_path().map_err(|()| refused(name, "it names no path of this machine"))?;
            return Ok(Kind::Local(path));
        }
        S::AmazonS3 => AmazonS3Builder::from_env().with_url(name).with_retry(retry).build().map(|s| Arc::new(s) as _),
        S::GoogleCloudStorage => {
            GoogleCloudStorageBuilder::from_env().with_url(name).with_retry(retry).build().map(|s| Arc::new(s) as _)
        }
        S::MicrosoftAzure => {
            MicrosoftAzureBuilder::from_env().with_url(name).with_retry(retry).build().map(|s| Arc::new(s) as _)
        }
        _ => return Err(refused(name, &format!("`{}://` is no place for state", url.scheme()))),
    };
    let store = store.map_err(|e| refused(name, "its settings don't fit").because(e))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| refused(name, "no I/O can be set up").because(e))?;
    Ok(Kind::Remote { store, prefix, runtime })
}

/// Writes to a temporary name, syncs, renames, syncs the directory.
fn put_local(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    // Two processes may write the same at the same time.
    let temporary = path.with_added_extension(format!("{}.tmp", std::process::id()));
    let written = (|| {
        let mut file = fs::File::create(&temporary)?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // On a full disk half a snapshot would be in the way of everything else.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    fs::File::open(dir)?.sync_all()
}

async fn put_remote(store: &dyn ObjectStore, key: &Key, parts: &[&[u8]]) -> object_store::Result<()> {
    let size: usize = parts.iter().map(|part| part.len()).sum();
    if size <= PART_BYTES {
        return store.put(key, parts.iter().map(|part| Bytes::copy_from_slice(part)).collect()).await.map(drop);
    }
    let mut upload = store.put_multipart(key).await?;
    let sent = async {
        let mut sending = futures_util::stream::FuturesUnordered::new();
        for payload in payloads(parts) {
            if sending.len() >= PARTS_AT_ONCE {
                sending.try_next().await?;
            }
            sending.push(upload.put_part(payload));
        }
        sending.try_collect::<Vec<()>>().await?;
        upload.complete().await.map(drop)
    }
    .await;
    if sent.is_err() {
        // Parts that stay behind cost money; a bucket's lifecycle rule removes them if this fails too.
        let _ = upload.abort().await;
    }
    sent
}

/// The bytes cut anew, copied one part at a time: a store wants all parts but the last of one size.
fn payloads<'a>(parts: &'a [&'a [u8]]) -> impl Iterator<Item = PutPayload> + 'a {
    let (mut at, mut offset) = (0, 0);
    std::iter::from_fn(move || {
        let (mut chunks, mut room) = (Vec::new(), PART_BYTES);
        while room > 0 {
            let Some(part) = parts.get(at) else { break };
            let rest = part.get(offset..).unwrap_or_default();
            let taken = rest.get(..room).unwrap_or(rest);
            chunks.push(Bytes::copy_from_slice(taken));
            room -= taken.len();
            offset += taken.len();
            if offset >= part.len() {
                (at, offset) = (at + 1, 0);
            }
        }
        (!chunks.is_empty()).then(|| chunks.into_iter().collect())
    })
}

async fn get_remote(store: &dyn ObjectStore, key: &Key, size: u64) -> object_store::Result<Vec<u8>> {
    if size <= PART_BYTES as u64 {
        return Ok(store.get(key).await?.bytes().await?.to_vec());
    }
    let starts = (0..size).step_by(PART_BYTES);
    let parts = starts.map(|start| store.get_range(key, start..size.min(start + PART_BYTES as u64)));
    let mut parts = futures_util::stream::iter(parts).buffered(PARTS_AT_ONCE);
    let mut bytes = Vec::with_capacity(size as usize);
    while let Some(part) = parts.try_next().await? {
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}
