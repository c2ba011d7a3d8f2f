//! Bytes that say what they are, and whether they are still what was written.

const HEAD: usize = 8 + 4 + 8;

/// Raised when the layout of manifests or of the state of any part changes.
const VERSION: u32 = 2;

/// The sort of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Says which objects make a snapshot.
    Manifest,
    /// State, or changes to it.
    Cut,
}

impl Sort {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Manifest => b"MSMANI\r\n",
            Self::Cut => b"MSSNAP\r\n",
        }
    }
}

/// What goes before a body: magic, version, the body's length.
pub(crate) fn head(sort: Sort, body: &[u8]) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(sort.magic());
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    head[12..].copy_from_slice(&(body.len() as u64).to_le_bytes());
    head
}

/// What goes after it: a CRC-32C of head and body.
pub(crate) fn tail(head: &[u8], body: &[u8]) -> [u8; 4] {
    crc32c::crc32c_append(crc32c::crc32c(head), body).to_le_bytes()
}

/// Takes head and tail off, or says what is wrong.
pub(crate) fn open(sort: Sort, mut bytes: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    let (rest, crc) = bytes.split_last_chunk::<4>().ok_or("it is too short")?;
    let head = rest.first_chunk::<HEAD>().ok_or("it is too short")?;
    if head[..8] != sort.magic()[..] {
        return Err("it is something else");
    }
    if head[8..12] != VERSION.to_le_bytes() {
        return Err("another version of Millstream wrote it");
    }
    if head[12..] != ((rest.len() - HEAD) as u64).to_le_bytes() {
        return Err("it has the wrong length");
    }
    if crc32c::crc32c(rest) != u32::from_le_bytes(*crc) {
        return Err("its checksum is wrong");
    }
    bytes.truncate(bytes.len() - 4);
    bytes.drain(..HEAD);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_damaged_byte_is_noticed() {
        let body = vec![7; 100];
        let head = head(Sort::Cut, &body);
        let good = [&head[..], &body, &tail(&head, &body)].concat();
        assert_eq!(open(Sort::Cut, good.clone()), Ok(body));
        assert!(open(Sort::Manifest, good.clone()).is_err());
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 0x40;
            assert!(open(Sort::Cut, bad).is_err(), "byte {i}");
            assert!(open(Sort::Cut, good[..i].to_vec()).is_err(), "cut at {i}");
        }
    }
}
