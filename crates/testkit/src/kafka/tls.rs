//! Certificates for one cluster, made with `openssl`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::failure::{Doing, Result};
use super::home::run;

/// PEM files of an authority that signed itself, and of what it signed.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// The authority: `ssl.ca.location`.
    pub authority: PathBuf,
    /// A client's certificate: `ssl.certificate.location`.
    pub client: PathBuf,
    /// A client's key, not encrypted: `ssl.key.location`.
    pub client_key: PathBuf,
    /// A broker's key and certificate in one file, as Kafka wants them.
    pub(super) broker: PathBuf,
}

impl Certificates {
    pub(super) fn make(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).doing(folder.display())?;
        let file = |name: &str| folder.join(name);
        std::fs::write(file("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").doing(folder.display())?;
        let openssl = |args: &str| {
            let mut command = Command::new("openssl");
            command.args(args.split_whitespace()).current_dir(folder);
            run(&mut command, &format!("certificates for tests can't be made: openssl {args}"))
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        openssl(&format!("req -x509 {key} -days 30 -subj /CN=tests -keyout authority.key -out authority.pem"))?;
        for name in ["broker", "client"] {
            openssl(&format!("req -new {key} -subj /CN={name} -keyout {name}.key -out {name}.request"))?;
            openssl(&format!(
                "x509 -req -days 30 -in {name}.request -CA authority.pem -CAkey authority.key -CAcreateserial \
                 -extfile names -out {name}.pem"
            ))?;
        }
        let mut both = std::fs::read(file("broker.key")).doing(folder.display())?;
        both.extend(std::fs::read(file("broker.pem")).doing(folder.display())?);
        std::fs::write(file("broker.both"), both).doing(folder.display())?;
        Ok(Self {
            authority: file("authority.pem"),
            client: file("client.pem"),
            client_key: file("client.key"),
            broker: file("broker.both"),
        })
    }
}
