//! How commands find the HTTP port of a run: `<data_dir>/http.json`, written while the run is up.
//!
//! The file may be left over from a run that was killed, so nobody trusts it before the port has answered
//! with the same process id.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const FILE: &str = "http.json";

/// Where a run listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The process.
    pub pid: u32,
    /// Where it listens.
    pub address: SocketAddr,
    /// The pipeline it runs.
    pub pipeline: String,
}

/// The announcement of this process; taken back when dropped.
pub struct Announced(PathBuf);

impl Announcement {
    /// Writes the announcement, replacing one that was left over.
    pub fn publish(&self, data_dir: &Path) -> std::io::Result<Announced> {
        let path = data_dir.join(FILE);
        let next = data_dir.join(format!("{FILE}.{}.tmp", self.pid));
        std::fs::write(&next, serde_json::to_vec(self)?)?;
        std::fs::rename(&next, &path)?;
        Ok(Announced(path))
    }

    /// What stands in a data directory, true or left over.
    pub fn read(data_dir: &Path) -> Option<Self> {
        let text = std::fs::read(data_dir.join(FILE)).ok()?;
        let found: Self = serde_json::from_slice(&text).ok()?;
        // Someone else's file must not send us to another machine.
        found.address.ip().is_loopback().then_some(found)
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Announcement::read(dir.path()), None);
        let here = Announcement { pid: 1, address: "127.0.0.1:80".parse().unwrap(), pipeline: "p".to_owned() };
        let announced = here.publish(dir.path()).unwrap();
        assert_eq!(Announcement::read(dir.path()), Some(here));
        drop(announced);
        assert_eq!(Announcement::read(dir.path()), None);
        std::fs::write(dir.path().join(FILE), r#"{"pid":1,"address":"10.0.0.1:80","pipeline":"p"}"#).unwrap();
        assert_eq!(Announcement::read(dir.path()), None, "only this machine is asked");
    }
}
