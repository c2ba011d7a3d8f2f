//! A pipeline that passes records through, driven by hand: the connector without an engine around it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::{DataType, Field, Schema};
use millstream_config::{Cx, Pipeline};
use millstream_connectors::backend::{self, Backend};
use millstream_connectors::codec::InputFormat;
use millstream_connectors::{EncodeContext, Env, SinkSpec, SourceSpec, registry};
use millstream_core::{
    Change, Chunk, CommitRecord, Delivery, EncodedRecord, Error, JournalEntry, Lease, Member, PollLimit, RawBatch,
    Result, Sink, Source, Store, TaskId,
};
use millstream_testkit::kafka::{Cluster, Isolation, Record, Transaction};

/// Longer than anything here takes.
pub const LONG: Duration = Duration::from_secs(90);

fn specs(source: &str, output: &str) -> (Arc<dyn SourceSpec>, Arc<dyn SinkSpec>) {
    let text = format!(
        "pipeline: p\nsources:\n  in: {{ {source}, schema: {{ a: string, n: int64 }} }}\noutputs:\n  out: {{ {output} }}\n"
    );
    let (pipeline, diagnostics) = Pipeline::parse("p.yaml", &text, &|_| None);
    let mut cx = Cx::new(diagnostics);
    let pipeline = pipeline.unwrap();
    let source = registry::source(&pipeline.sources[0].connector, &mut cx);
    let sink = registry::sink(&pipeline.outputs[0].connector, &mut cx);
    assert!(!cx.diagnostics().has_errors(), "{}", cx.diagnostics().render(false));
    (source.unwrap().into(), sink.unwrap().into())
}

/// A pipeline, its topics and its folder.
pub struct Rig<'a> {
    pub cluster: &'a Cluster,
    pub name: String,
    pub input: String,
    pub output: String,
    pub source: Arc<dyn SourceSpec>,
    pub sink: Arc<dyn SinkSpec>,
    pub delivery: Delivery,
    folder: PathBuf,
    _keep: tempfile::TempDir,
}

impl<'a> Rig<'a> {
    /// A pipeline from a topic of `partitions` partitions to another; `more` are further fields of its source.
    pub fn new(cluster: &'a Cluster, partitions: u32, more: &str) -> Self {
        let (name, input, output) = (cluster.fresh_name("p"), cluster.fresh_name("in"), cluster.fresh_name("out"));
        cluster.create_topic(&input, partitions, &[]).unwrap();
        cluster.create_topic(&output, partitions, &[]).unwrap();
        let brokers = cluster.bootstrap();
        let source = format!("type: kafka, brokers: \"{brokers}\", topic: {input}{more}");
        let sink = format!("type: kafka, brokers: \"{brokers}\", topic: {output}");
        let (source, sink) = specs(&source, &sink);
        Self::of(cluster, name, (input, output), source, sink)
    }

    /// A pipeline from a file to a topic.
    pub fn from_file(cluster: &'a Cluster, lines: &str) -> Self {
        let (name, output) = (cluster.fresh_name("p"), cluster.fresh_name("out"));
        cluster.create_topic(&output, 2, &[]).unwrap();
        let sink = format!("type: kafka, brokers: \"{}\", topic: {output}", cluster.bootstrap());
        let (source, sink) = specs("type: file, path: in.ndjson", &sink);
        let rig = Self::of(cluster, name, (String::new(), output), source, sink);
        std::fs::write(rig.folder.join("in.ndjson"), lines).unwrap();
        rig
    }

    fn of(
        cluster: &'a Cluster,
        name: String,
        (input, output): (String, String),
        source: Arc<dyn SourceSpec>,
        sink: Arc<dyn SinkSpec>,
    ) -> Self {
        let keep = tempfile::tempdir().unwrap();
        let folder = keep.path().to_owned();
        Self { cluster, name, input, output, source, sink, delivery: Delivery::ExactlyOnce, folder, _keep: keep }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What another process that runs the pipeline from the same folder would open.
    pub fn process(&self) -> Process {
        let env = Arc::new(Env::new(&self.folder, ".millstream", &self.name, false));
        let choice = backend::choose(self.source.as_ref(), &[("out", self.sink.as_ref())], self.delivery).unwrap();
        let backend = backend::open(&choice, &env, &self.source, self.delivery).unwrap();
        let context = EncodeContext {
            pipeline: self.name.clone(),
            source: "in".into(),
            schema: Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)])),
            format: self.sink.format(),
            timestamps: self.sink.timestamps(),
            include_event: false,
            source_format: InputFormat::Json,
            key_column: None,
            dead_letters: false,
            boundaries: true,
            partition_column: None,
            header_columns: Vec::new(),
        };
        let sink = self.sink.open(&env, backend.tasks(), &context).unwrap();
        Process { backend, sink: Some(sink) }
    }

    /// Writes `range` into the input, number `i` to partition `i % partitions`.
    pub fn feed(&self, range: std::ops::Range<u32>, partitions: u32, transaction: Transaction<'_>) {
        let record = |i: u32| Record::text(&format!("k{i}"), &i.to_string()).in_partition((i % partitions) as i32);
        let records: Vec<Record> = range.map(record).collect();
        self.cluster.produce(&self.input, &records, transaction).unwrap();
    }

    /// The values of the output that a reader of committed records sees, sorted as numbers.
    pub fn committed(&self, at_least: usize) -> Vec<u32> {
        let read = self.cluster.consume_at_least(&self.output, Isolation::ReadCommitted, at_least, LONG).unwrap();
        let mut values: Vec<u32> = read.iter().map(|r| r.value_text().parse().unwrap()).collect();
        values.sort_unstable();
        values
    }

    /// The identity of the first process's first worker.
    pub fn transactional_id(&self) -> String {
        let id = std::fs::read_to_string(self.folder.join(".millstream/instances/0")).unwrap();
        format!("millstream-{}-{}-0", self.name, id.trim())
    }
}

/// One process.
pub struct Process {
    pub backend: Arc<dyn Backend>,
    pub sink: Option<Box<dyn Sink>>,
}

impl Process {
    pub fn worker(&mut self) -> Worker {
        let store = self.backend.store(0).unwrap();
        let member = self.backend.member(0, 1).unwrap();
        let sink = self.sink.take().unwrap();
        Worker { store, member, sink, tasks: BTreeMap::new(), lost: 0, handed_over: 0 }
    }
}

/// A task that a worker has.
pub struct Owned {
    pub lease: Lease,
    pub source: Box<dyn Source>,
    pub record: CommitRecord,
}

impl Owned {
    /// The commit as it comes back: a receipt that says nothing is not kept.
    pub fn record_without_empty_receipts(&self) -> CommitRecord {
        let mut record = self.record.clone();
        record.receipts.retain(|_, receipt| !receipt.0.is_empty());
        record
    }
}

/// A worker without an engine: it reads, and commits what it read.
pub struct Worker {
    pub store: Arc<dyn Store>,
    pub member: Box<dyn Member>,
    pub sink: Box<dyn Sink>,
    pub tasks: BTreeMap<TaskId, Owned>,
    /// Parts of epochs that were someone else's by then.
    pub lost: usize,
    pub handed_over: usize,
}

impl Worker {
    fn own(&mut self, task: TaskId, lease: Lease) {
        let mut source = self.member.opener().open(task).unwrap();
        let record = match self.store.load_commit("p", task).unwrap() {
            Some(record) => {
                source.seek(&record.position).unwrap();
                record
            }
            None => CommitRecord { start: source.position(), position: source.position(), ..CommitRecord::default() },
        };
        self.sink.recover(task, None).unwrap();
        self.tasks.insert(task, Owned { lease, source, record });
    }

    /// Takes in what the group has to say.
    pub fn hear(&mut self) {
        while let Some(change) = self.member.poll().unwrap() {
            match change {
                Change::Assigned(tasks) => tasks.into_iter().for_each(|(task, lease)| self.own(task, lease)),
                Change::Revoked(tasks) | Change::Lost(tasks) => {
                    self.tasks.retain(|task, _| !tasks.contains(task));
                    self.handed_over += tasks.len();
                    self.member.release(&tasks).unwrap();
                }
            }
        }
    }

    /// What every task has to read now, in one commit. How many records that were.
    pub fn epoch(&mut self, records_max: usize) -> usize {
        self.try_epoch(records_max).unwrap()
    }

    /// Commits until that fails.
    pub fn fails(&mut self) -> Error {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < LONG, "it did not fail");
            if let Err(error) = self.try_epoch(100) {
                return error;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn try_epoch(&mut self, records_max: usize) -> Result<usize> {
        let mut txn = self.store.begin();
        let mut next = BTreeMap::new();
        let mut count = 0;
        for (task, owned) in &mut self.tasks {
            let mut batch = RawBatch::new(*task);
            owned.source.poll(PollLimit { records: records_max, bytes: 1 << 20 }, &mut batch).unwrap();
            if batch.is_empty() {
                continue;
            }
            count += batch.len();
            let mut record = owned.record.clone();
            record.epoch += 1;
            record.position = owned.source.position();
            txn.task(*task, owned.lease);
            let receipt = self.sink.stage(*task, chunk(&batch), txn.as_mut()).unwrap();
            record.receipts.insert("out".into(), receipt);
            if record.journal_len == 0 {
                let entry = JournalEntry::Begin { at: record.start.offset };
                txn.put_journal("p", *task, 0, &entry).unwrap();
                record.journal_len = 1;
            }
            txn.put_commit("p", *task, &record).unwrap();
            next.insert(*task, record);
        }
        if next.is_empty() {
            return Ok(0);
        }
        let lost = txn.commit(false)?;
        self.lost += lost.len();
        for (task, record) in next {
            if !lost.contains(&task)
                && let Some(owned) = self.tasks.get_mut(&task)
            {
                owned.record = record;
            }
        }
        Ok(count)
    }

    /// Hears and commits until `done`.
    pub fn run_until(&mut self, what: &str, mut done: impl FnMut(&Self, usize) -> bool) {
        let began = Instant::now();
        let mut total = 0;
        while !done(self, total) {
            assert!(began.elapsed() < LONG, "{what} did not come about; {total} records were passed on");
            self.hear();
            let passed = self.epoch(100);
            total += passed;
            if passed == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// Records as they came.
pub fn chunk(batch: &RawBatch) -> Chunk {
    let mut chunk = Chunk::default();
    for i in 0..batch.len() {
        let mut put = |bytes: &[u8]| {
            let start = chunk.data.len() as u32;
            chunk.data.extend_from_slice(bytes);
            (start, bytes.len() as u32)
        };
        let key = batch.key(i).map(&mut put);
        let value = batch.value(i).map(&mut put);
        chunk.records.push(EncodedRecord {
            key,
            value,
            timestamp_ms: batch.timestamp_ms(i),
            partition: batch.partition(),
            headers: batch.headers(i).to_vec(),
        });
        chunk.rows += 1;
    }
    chunk
}
