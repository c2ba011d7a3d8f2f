//! The documentation is true: pipelines in it pass `check`, commands in it run, codes have pages, links lead somewhere.
//!
//! Fences: ` ```yaml ` is a whole pipeline and is checked; ` ```yaml fragment ` is not. ` ```console run ` holds
//! commands (`$ …`) that must succeed, and ` ```console run exact ` shows all they print; both are run in order, in a
//! folder that has a copy of `examples/` and of this page's earlier results. ` ```console run kafka ` is run against the
//! tests' broker, which has the address that the page gives its own, `127.0.0.1:9092`. A command that ends in `&` goes on
//! until `kill %1 …` or the end of the page, and must then end well.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use millstream_testkit::kafka::Cluster;

use crate::support::{Job, binary, copy_tree, files, root};

/// Every hand-written page: the README and its like, and the guide. The pages of error codes show errors.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"].map(|n| root().join(n)).into();
    pages.extend(
        files(&root().join("docs"), "md").into_iter().filter(|p| !p.components().any(|c| c.as_os_str() == "errors")),
    );
    pages
}

struct Block {
    /// What stands after the opening back-ticks.
    info: String,
    text: String,
    line: usize,
}

fn blocks(page: &Path) -> Vec<Block> {
    let text = fs::read_to_string(page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(info), None) => {
                open = Some(Block { info: info.trim().to_owned(), text: String::new(), line: number + 1 })
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{}: a fence is not closed", page.display());
    blocks
}

#[test]
fn every_pipeline_in_the_documentation_passes_check() {
    let mut checked = 0;
    for page in pages() {
        for block in blocks(&page).iter().filter(|b| b.info == "yaml") {
            let job = Job::new(&block.text);
            for file in ["model.json", "merchants.csv"] {
                job.copy(&root().join("examples/fraud").join(file), file);
            }
            let run = job.millstream(&["check", "pipeline.yaml"]);
            assert!(run.status.success(), "{}:{}\n{}", page.display(), block.line, run.said());
            checked += 1;
        }
    }
    assert!(checked > 2, "only {checked} pipelines found");
}

/// Splits a console block into commands with what is shown below each.
fn commands(text: &str) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            all.push((command.to_owned(), String::new()));
        } else if let Some((_, shown)) = all.last_mut() {
            shown.push_str(line);
            shown.push('\n');
        }
    }
    all
}

#[test]
fn every_command_in_the_documentation_that_is_marked_runs() {
    // `MILLSTREAM_BIN` may have another name.
    let bin = Job::new("");
    std::os::unix::fs::symlink(binary(), bin.path("millstream")).expect("a link can be made");
    let path = format!("{}:{}", bin.path("").display(), std::env::var("PATH").unwrap_or_default());
    let mut ran = 0;
    for page in pages() {
        let marked: Vec<Block> = blocks(&page).into_iter().filter(|b| b.info.starts_with("console run")).collect();
        if marked.is_empty() {
            continue;
        }
        let job = Job::new("");
        copy_examples(&job);
        let broker = marked.iter().any(|b| b.info.ends_with("kafka")).then(|| Cluster::shared().unwrap().bootstrap());
        let mut background = Background::default();
        for block in marked {
            for (command, shown) in commands(&block.text) {
                // A reader has built the binary, or lets cargo do it.
                let mut command = command.replace("cargo run --release --", "millstream");
                let mut shell = Command::new("sh");
                if let Some(broker) = &broker {
                    command = command.replace("127.0.0.1:9092", broker);
                    shell.env("KAFKA_BROKERS", broker);
                }
                let place = format!("{}:{}: {command}", page.display(), block.line);
                shell.current_dir(job.path("")).env("PATH", &path).env("NO_COLOR", "1").stdin(Stdio::null());
                if command.starts_with("kill %") {
                    background.end();
                    continue;
                }
                if let Some(command) = command.strip_suffix(" &") {
                    background.begin(shell.args(["-c", &format!("exec {command}")]), place);
                    continue;
                }
                let output = shell.args(["-c", &command]).output().expect("sh starts");
                assert!(output.status.success(), "{place}\n{}", String::from_utf8_lossy(&output.stderr));
                if block.info == "console run exact" {
                    assert_eq!(String::from_utf8_lossy(&output.stdout), shown, "{place}");
                }
                ran += 1;
            }
        }
        background.end();
    }
    assert!(ran > 2, "only {ran} commands found");
}

/// Commands that go on while others run.
#[derive(Default)]
struct Background(Vec<(Child, String)>);

impl Background {
    fn begin(&mut self, command: &mut Command, place: String) {
        self.0.push((command.spawn().expect("sh starts"), place));
    }

    /// Asks them to end, and waits for it.
    fn end(&mut self) {
        for (child, _) in &self.0 {
            let killed = Command::new("kill").arg(child.id().to_string()).status().expect("kill starts");
            assert!(killed.success());
        }
        for (mut child, place) in self.0.drain(..) {
            let status = child.wait().expect("a child ends");
            assert!(status.success(), "{place}: {status}");
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        for (child, _) in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The examples, without what a run in the working tree left behind.
fn copy_examples(job: &Job) {
    copy_tree(&root().join("examples"), &job.path("examples"));
    for example in fs::read_dir(job.path("examples")).expect("there are examples") {
        for left in ["out", ".millstream"] {
            let left = example.as_ref().expect("an entry").path().join(left);
            if left.exists() {
                fs::remove_dir_all(left).expect("a folder can be removed");
            }
        }
    }
}

#[test]
fn every_error_code_has_its_page_and_every_page_its_code() {
    let mut codes: BTreeMap<String, (String, PathBuf)> = BTreeMap::new();
    for source in files(&root().join("crates"), "rs") {
        let text = fs::read_to_string(&source).expect("sources are UTF-8");
        for rest in text.split("Code::new(").skip(1) {
            let mut quoted = rest.split('"').skip(1).step_by(2);
            let (Some(id), Some(title)) = (quoted.next(), quoted.next()) else { continue };
            let is_code = id.len() == 6 && id.starts_with("MS") && id[2..].bytes().all(|b| b.is_ascii_digit());
            if !is_code || source.components().any(|c| c.as_os_str() == "tests") {
                continue;
            }
            if let Some((_, other)) = codes.insert(id.to_owned(), (title.to_owned(), source.clone())) {
                panic!("{id} stands in {} and in {}", other.display(), source.display());
            }
        }
    }
    let folder = root().join("docs/errors");
    let mut problems = Vec::new();
    for (id, (title, source)) in &codes {
        match fs::read_to_string(folder.join(format!("{id}.md"))) {
            Ok(page) if page.starts_with(&format!("# {id}: {title}\n")) => {}
            Ok(page) => {
                problems.push(format!("{id}.md begins {:?}, not with the title {title:?}", page.lines().next()))
            }
            Err(_) => problems.push(format!("{id} ({title}, in {}) has no page", source.display())),
        }
    }
    for page in files(&folder, "md") {
        let id = page.file_stem().expect("a name").to_string_lossy().into_owned();
        if id.starts_with("MS") && !codes.contains_key(&id) {
            problems.push(format!("{id}.md is the page of no code"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(codes.len() > 20, "only {} codes found", codes.len());
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut all = pages();
    all.extend(files(&root().join("docs/errors"), "md"));
    for page in all {
        let text = fs::read_to_string(&page).expect("pages are UTF-8");
        for rest in text.split("](").skip(1) {
            let Some((target, _)) = rest.split_once(')') else { continue };
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.contains(' ') {
                continue;
            }
            if !page.parent().expect("a page is in a folder").join(target).exists() {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn generated_pages_are_what_the_binary_prints() {
    for (page, file) in
        [("cli", "docs/cli.md"), ("pipeline", "docs/pipeline-file.md"), ("errors", "docs/errors/README.md")]
    {
        let printed = Job::new("").millstream(&["docs", "reference", page]).expect_success().stdout;
        let stands = fs::read_to_string(root().join(file)).unwrap_or_default();
        assert!(printed == stands, "{file} has drifted; renew it: millstream docs reference {page} > {file}");
    }
}
