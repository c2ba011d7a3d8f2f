//! What brokers start from: jars from Maven Central, a formatted storage to copy and an archive of loaded classes, all
//! made once into the cache folder.
//!
//! Formatting costs a JVM (0.8 s of CPU) for each broker and its result is the same for all but the names in
//! `meta.properties`, so it is done once and copied. The archive (class data sharing) nearly halves the start of a
//! broker: 1.7 instead of 3.0 s, 1.3 instead of 2.4 s of CPU.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::failure::{Doing, Failure, Result};
use super::{PASSWORD, USER, source};

/// Counted up when something else than the jars changes in what is cached.
const RECIPE: &str = "1";
/// The oldest Java that Kafka 4 runs on.
const JAVA_MIN: u32 = 17;
/// Named in full: an old Maven would take the plugin's version of its own time, which knows no newer `pom.xml`.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// What a broker starts from.
#[derive(Clone)]
pub(super) struct Home {
    folder: PathBuf,
}

impl Home {
    /// The one of this process, made by the first that needs it on this machine.
    pub(super) fn get() -> Result<&'static Self> {
        static HOME: OnceLock<Result<Home>> = OnceLock::new();
        HOME.get_or_init(Self::prepare).as_ref().map_err(Clone::clone)
    }

    fn prepare() -> Result<Self> {
        let java = java()?;
        let pom = source("pom.xml");
        let pinned = std::fs::read_to_string(&pom).doing(pom.display())?;
        let version = pinned
            .split_once("<kafka.version>")
            .and_then(|(_, rest)| rest.split_once("</kafka.version>"))
            .map(|(version, _)| version)
            .ok_or_else(|| Failure::new(format!("{} has no <kafka.version>", pom.display())))?;
        let name = format!("kafka-{version}-{:016x}", hash(&[pinned.as_bytes(), java.as_bytes(), RECIPE.as_bytes()]));
        let folder = cached(&name, |folder| {
            jars(&pom, &folder.join("jars"))?;
            let home = Self { folder: folder.to_owned() };
            home.format()
        })?;
        let home = Self { folder };
        // Not before the folder has its name: an archive is for jars at one path.
        cached(&format!("{name}/archive"), |folder| {
            // A Java that can't is slower, that's all.
            drop(super::cluster::archive_classes(&home, &folder.join("jsa")));
            Ok(())
        })?;
        Ok(home)
    }

    /// `java` with the jars and small, ready for the name of a class and its arguments.
    pub(super) fn java(&self, log_level: &str) -> Result<Command> {
        let mut jars = Vec::new();
        let folder = self.folder.join("jars");
        for entry in std::fs::read_dir(&folder).doing(folder.display())? {
            jars.push(entry.doing(folder.display())?.path());
        }
        // In order: an archive of classes is for one class path.
        jars.sort();
        let jars: Vec<_> = jars.iter().map(|jar| jar.to_string_lossy()).collect();
        let mut java = Command::new("java");
        java.args(["-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]);
        let archive = self.folder.join("archive/jsa");
        if archive.exists() {
            java.arg(format!("-XX:SharedArchiveFile={}", archive.display()));
        }
        java.arg(format!("-Dlog4j2.configurationFile={}", source("log4j2.properties").display()));
        java.arg(format!("-Dmillstream.log={log_level}"));
        java.arg("-cp").arg(jars.join(":"));
        Ok(java)
    }

    /// The feature levels and SCRAM users that a new storage begins with.
    pub(super) fn bootstrap_checkpoint(&self) -> PathBuf {
        self.folder.join("storage/bootstrap.checkpoint")
    }

    fn format(&self) -> Result<()> {
        let storage = self.folder.join("storage");
        let properties = self.folder.join("format.properties");
        let lines = [
            "process.roles=broker,controller",
            "node.id=1",
            "listeners=CLIENT://127.0.0.1:1,CONTROLLER://127.0.0.1:2",
            "advertised.listeners=CLIENT://127.0.0.1:1",
            "inter.broker.listener.name=CLIENT",
            "controller.listener.names=CONTROLLER",
            "controller.quorum.voters=1@127.0.0.1:2",
            "listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            &format!("log.dirs={}", storage.display()),
        ];
        std::fs::write(&properties, lines.join("\n")).doing(properties.display())?;
        let mut format = self.java("warn")?;
        format.args(["kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAA", "-c"]).arg(&properties);
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            format.arg("--add-scram").arg(format!("{mechanism}=[name={USER},password={PASSWORD}]"));
        }
        run(&mut format, "Kafka's storage can't be formatted")
    }
}

/// The version of Java, if it is there and new enough.
fn java() -> Result<String> {
    let wanted = format!(
        "tests against Kafka need Java {JAVA_MIN} or newer and Maven\n\
         help: on Debian and Ubuntu: apt install openjdk-{JAVA_MIN}-jre-headless maven"
    );
    let output = Command::new("java").arg("-version").output();
    let output = output.map_err(|e| Failure::new(format!("there is no `java` ({e}): {wanted}")))?;
    // `openjdk version "17.0.15" 2025-04-15`, on standard error.
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = text.split("version \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    let major = version.split(['.', '-', '+']).next().and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major >= JAVA_MIN => Ok(text),
        _ => Err(Failure::new(format!("`java` is version `{version}`: {wanted}"))),
    }
}

fn jars(pom: &Path, into: &Path) -> Result<()> {
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "-Dstyle.color=never", "-f"]).arg(pom).arg(COPY).arg("-DincludeScope=runtime");
    maven.arg(format!("-DoutputDirectory={}", into.display()));
    run(&mut maven, "Maven can't copy Kafka's jars for the tests").map_err(|problem| {
        Failure::new(format!(
            "{problem}\n\
             help: `mvn` must be installed (on Debian and Ubuntu: apt install maven); the first time it needs the \
             network, to reach Maven Central or what ~/.m2/settings.xml names instead"
        ))
    })
}

/// A folder of the cache by that name, filled by the first that needs it; others wait meanwhile.
///
/// It is filled under another name and moved into place when complete: a stopped test leaves no half of one.
pub(super) fn cached(name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let ready = cache_folder()?.join(name);
    if ready.exists() {
        return Ok(ready);
    }
    let beside = |end: &str| PathBuf::from(format!("{}.{end}", ready.display()));
    if let Some(parent) = ready.parent() {
        std::fs::create_dir_all(parent).doing(parent.display())?;
    }
    let (lock, filling) = (beside("lock"), beside("filling"));
    let file = File::create(&lock).doing(lock.display())?;
    file.lock().doing(lock.display())?;
    if ready.exists() {
        return Ok(ready);
    }
    if filling.exists() {
        std::fs::remove_dir_all(&filling).doing(filling.display())?;
    }
    std::fs::create_dir_all(&filling).doing(filling.display())?;
    fill(&filling)?;
    std::fs::rename(&filling, &ready).doing(ready.display())?;
    Ok(ready)
}

fn cache_folder() -> Result<PathBuf> {
    if let Some(cache) = std::env::var_os("MILLSTREAM_CACHE") {
        return Ok(PathBuf::from(cache));
    }
    let home = std::env::var_os("HOME").ok_or_else(|| Failure::new("neither MILLSTREAM_CACHE nor HOME is set"))?;
    Ok(Path::new(&home).join(".cache/millstream"))
}

/// FNV-1a.
pub(super) fn hash(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter().chain(&[0xFF]));
    bytes.fold(0xCBF2_9CE4_8422_2325, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3))
}

/// Runs a command to its end; a failure shows what it printed.
pub(super) fn run(command: &mut Command, problem: &str) -> Result<()> {
    let output = command
        .output()
        .doing(format_args!("{problem}: `{}` can't be started", command.get_program().to_string_lossy()))?;
    if output.status.success() {
        return Ok(());
    }
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(Failure::new(format!("{problem}:\n{out}{err}")))
}
