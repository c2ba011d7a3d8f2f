//! Help, completions, pages, samples.

use crate::support::Folder;

#[test]
fn help_says_how_commands_end() {
    let folder = Folder::new();
    let help = folder.run(&["--help"]).succeeded().out;
    for word in ["run", "check", "explain", "init", "topic", "Exit codes", "130"] {
        assert!(help.contains(word), "{word}:\n{help}");
    }
    assert!(!help.contains("docs"), "hidden:\n{help}");
    let wrong = folder.run(&["explan", "x.yaml"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.err.contains("similar subcommand exists: 'explain'"), "{}", wrong.err);
}

#[test]
fn completions_for_every_shell() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = folder.run(&["completions", shell]).succeeded().out;
        assert!(script.contains("millstream") && script.contains("rebuild-from"), "{shell}");
    }
}

#[test]
fn error_pages_are_built_in() {
    let folder = Folder::new();
    let page = folder.run(&["error", "ms0702"]).succeeded().out;
    assert!(page.starts_with("# MS0702: "), "{page}");
    let unknown = folder.run(&["error", "MS9999"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.err.starts_with("error[MS0701]: "), "{}", unknown.err);
}

#[test]
fn samples_follow_their_seed() {
    let folder = Folder::new();
    let short = folder.run(&["generate", "fraud", "--events", "20", "--seed", "3"]).succeeded().out;
    assert_eq!(short.lines().count(), 20);
    folder
        .run(&["generate", "fraud", "-n", "30", "--seed", "3", "-o", "t.ndjson", "--merchants-output", "m.csv"])
        .succeeded();
    assert!(folder.read("t.ndjson").starts_with(&short), "a shorter run is a prefix");
    assert!(folder.read("m.csv").starts_with("merchant_id,"));
    folder.run(&["generate", "fraud", "-n", "30", "--seed", "3", "-o", "t.ndjson.zst"]).succeeded();
    let packed = std::fs::File::open(folder.path("t.ndjson.zst")).unwrap();
    assert_eq!(zstd::decode_all(packed).unwrap(), folder.read("t.ndjson").as_bytes());
    let refused = folder.run(&["generate", "fraud", "--cards", "0"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("at least 1"), "{}", refused.err);
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let folder = Folder::new();
    let mut child = folder.command(&["generate", "fraud", "--events", "100000"]).spawn().unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&done.stderr), "");
}
