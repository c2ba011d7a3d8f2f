//! Snapshots in a bucket: of a server that speaks S3 and was not written here (moto, from PyPI).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::support::{Job, Run, finish, fraud_job, fraud_pipeline, python};

/// A server with one bucket, `state`; it ends with the test.
struct Bucket {
    server: Child,
    address: String,
}

impl Bucket {
    /// `None` where Python is left out.
    fn start() -> Option<Self> {
        let mut command = Command::new(python()?);
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut server = command.spawn().expect("moto starts");
        let mut lines = BufReader::new(server.stderr.take().expect("piped")).lines();
        let said = |line: std::io::Result<String>| {
            line.ok()?.split_once("Running on http://").map(|(_, address)| address.trim().to_owned())
        };
        let address = lines.by_ref().find_map(said).expect("moto says where it listens");
        // It goes on talking; nobody may make it wait.
        std::thread::spawn(move || lines.for_each(drop));
        let bucket = Self { server, address };
        assert!(bucket.ask("PUT", "/state").starts_with("HTTP/1.1 200"), "the bucket can be made");
        Some(bucket)
    }

    fn ask(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("the server listens");
        let address = &self.address;
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .expect("the server reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the server answers");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The keys of all objects.
    fn objects(&self) -> Vec<String> {
        let listed = self.ask("GET", "/state?list-type=2");
        listed.split("<Key>").skip(1).filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned())).collect()
    }

    fn remove_all(&self) {
        assert!(self.ask("POST", "/moto-api/reset").starts_with("HTTP/1.1 200"), "the server forgets");
        assert!(self.ask("PUT", "/state").starts_with("HTTP/1.1 200"), "the bucket can be made");
        assert!(self.objects().is_empty());
    }

    fn run(&self, job: &Job) -> Run {
        let mut command = job.command(&["run", "pipeline.yaml", "--log-format", "json"]);
        command.env("AWS_ENDPOINT_URL", format!("http://{}", self.address)).env("AWS_ALLOW_HTTP", "true");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test").env("AWS_REGION", "us-east-1");
        finish(command, b"")
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// A followed topic, of which a part is there at each run.
fn job() -> Job {
    let pipeline = fraud_pipeline(&[
        ("pipeline: fraud\n", "pipeline: fraud\nstate: s3://state/some/folder\nsnapshot_every: 20ms\nepoch_max: 5ms\n"),
        ("type: file                        # also: log", "type: log  #"),
        (
            "    path: ${TRANSACTIONS:-transactions-100k.ndjson.zst}",
            "    topic: transactions\n    partitions: 2\n    bounded: true",
        ),
    ]);
    let job = fraud_job(&pipeline, 12_000, 5, 0.004);
    job.millstream(&["topic", "create", "transactions", "--partitions", "2"]).expect_success();
    job
}

/// Appends the next third of the events.
fn produce(job: &Job, third: usize) {
    let events = String::from_utf8(job.read("events.ndjson")).expect("generated events are UTF-8");
    // What has no card to go by is left out: its partition would be of no use.
    let usable = |line: &&str| line.contains(r#""card_id":"c"#) && line.ends_with('}');
    let events: Vec<&str> = events.lines().filter(usable).collect();
    job.write(
        "part.ndjson",
        events.chunks(events.len().div_ceil(3)).nth(third).expect("a third").join("\n").as_bytes(),
    );
    let produce = ["topic", "produce", "transactions", "--quiet", "--input", "part.ndjson", "--key-field", "card_id"];
    job.millstream(&produce).expect_success();
}

fn outputs(job: &Job) -> [Vec<u8>; 2] {
    ["scores", "alerts"].map(|name| {
        // The partitions of a topic are read side by side: their lines may stand in either order.
        let text = String::from_utf8(job.read(&format!("out/{name}.ndjson"))).expect("JSON is UTF-8");
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.join("\n").into_bytes()
    })
}

/// How many events a run folded again.
fn folded(run: &Run) -> u64 {
    let lines = run.stderr.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let summary = lines.map(|line| line["summary"].clone()).find(serde_json::Value::is_object);
    let folded = summary.and_then(|summary| summary["folded"].as_u64());
    folded.unwrap_or_else(|| panic!("no `folded` in the summary:\n{}", run.stderr))
}

#[test]
fn runs_go_on_from_snapshots_in_a_bucket() {
    let Some(bucket) = Bucket::start() else {
        println!("left out: it needs Python");
        return;
    };
    let job = job();
    produce(&job, 0);
    let first = bucket.run(&job).expect_success();
    assert_eq!(folded(&first), 0);
    let objects = bucket.objects();
    for partition in 0..2 {
        let below = format!("some/folder/fraud/{partition}/");
        let of = |end: &str| objects.iter().filter(|key| key.starts_with(&below) && key.ends_with(end)).count();
        assert!(of(".manifest") >= 1 && of(".full") >= 1, "{objects:?}");
    }
    assert!(objects.iter().any(|key| key.contains("/artifacts/")), "copies of tables: {objects:?}");
    assert!(!job.path(".millstream/state").exists(), "nothing of it is here");

    // The second goes on from what is in the bucket, and only from that.
    produce(&job, 1);
    let expected = job.duplicate();
    let second = bucket.run(&job).expect_success();
    assert_eq!(folded(&second), 0, "the last snapshot of a run that ended is of its end");

    // The bucket loses all: the state is folded again from the input, and the outputs don't tell.
    produce(&job, 2);
    bucket.remove_all();
    let third = bucket.run(&job).expect_success();
    assert!(folded(&third) > 0);
    assert!(!bucket.objects().is_empty(), "and saved again");

    produce(&expected, 2);
    bucket.remove_all();
    bucket.run(&expected).expect_success();
    assert_eq!(outputs(&job), outputs(&expected));
}

#[test]
fn a_bucket_that_refuses_says_what_to_do() {
    let Some(bucket) = Bucket::start() else {
        println!("left out: it needs Python");
        return;
    };
    let job = job();
    job.write(
        "pipeline.yaml",
        String::from_utf8(job.read("pipeline.yaml")).unwrap().replace("s3://state", "s3://nowhere").as_bytes(),
    );
    produce(&job, 0);
    let said = bucket.run(&job).said();
    assert!(said.contains("MS065") && said.contains("s3://nowhere/some/folder"), "{said}");
}
