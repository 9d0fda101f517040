//! `lookbehind generate` writes traces, `lookbehind simulate` says how policies do on them.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{Folder, program};

fn run(args: &[&str]) -> Output {
    program().args(args).output().expect("the program runs")
}

fn simulate(trace: &Path, args: &[&str]) -> Output {
    let mut command = program();
    command.arg("simulate").arg(trace).args(args).output().expect("the program runs")
}

#[track_caller]
fn text(output: Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert_eq!(error, "");
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}

/// A trace of one viewer who often seeks.
fn generated(folder: &Folder) -> PathBuf {
    let path = folder.path("whole.csv");
    let args = ["generate", "solo", "--seed", "3", "--seek-every", "1min", "-o"];
    let written = program().args(args).arg(&path).output().expect("the program runs");
    assert_eq!(text(written), "");
    path
}

/// The beginning of it.
fn trace(folder: &Folder) -> PathBuf {
    let whole = std::fs::read_to_string(generated(folder)).expect("it was written");
    let lines: Vec<&str> = whole.lines().take(5000).collect();
    let path = folder.path("one.csv");
    std::fs::write(&path, lines.join("\n") + "\n").expect("there is room");
    path
}

#[test]
fn csv_has_its_header_and_a_row_for_each_policy_and_budget() {
    let folder = Folder::new();
    let args = ["--format", "csv", "--policy", "opt,lru", "--budget", "5%,50"];
    let csv = text(simulate(&trace(&folder), &args));
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "trace,policy,budget_percent,pieces,accesses,misses,refetches,stalls");
    assert_eq!(lines.len(), 5);
    let row: Vec<&str> = lines[1].split(',').collect();
    assert_eq!(row[..3], ["one", "opt", "5"]);
    let numbers: Vec<u64> = row[3..].iter().map(|field| field.parse().unwrap()).collect();
    let [pieces, accesses, misses, refetches, stalls] = numbers[..] else { panic!("{row:?}") };
    assert!(pieces > 20 && accesses > misses && misses > refetches && refetches >= stalls);
    assert!(lines[4].starts_with("one,lru,") && lines[4].contains(",50,"), "{}", lines[4]);
}

#[test]
fn all_policies_in_a_table_and_in_json() {
    let folder = Folder::new();
    let trace = trace(&folder);
    let table = text(simulate(&trace, &[]));
    let json: serde_json::Value =
        serde_json::from_str(&text(simulate(&trace, &["--format", "json"]))).expect("JSON");
    let rows = json["rows"].as_array().expect("rows");
    // One line says what the trace is, one names the columns.
    assert_eq!(table.lines().count(), rows.len() + 2, "{table}");
    for row in rows {
        let policy = row["policy"].as_str().expect("a name");
        assert!(table.contains(&format!(" {policy} ")), "{policy} in {table}");
        assert!(row["misses_to_opt"].as_f64().expect("a number") >= 1.0);
    }
    assert_eq!(rows.len() % 3, 0);
    assert_eq!(json["trace"]["viewers"], 1);
}

#[test]
fn a_plot_is_drawn() {
    let folder = Folder::new();
    let plot = folder.path("plot.svg");
    let trace = trace(&folder);
    text(simulate(&trace, &["--policy", "lru,next-use", "--plot", plot.to_str().unwrap()]));
    let image = std::fs::read_to_string(&plot).expect("the plot");
    assert!(image.starts_with("<svg") && image.contains("next-use") && image.contains("lru"));
    assert!(!image.contains("sieve"));
    let nowhere = folder.path("no/plot.svg");
    let output = simulate(&trace, &["--policy", "lru", "--plot", nowhere.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("plot.svg: "));
}

#[test]
fn the_least_budget_is_named() {
    let folder = Folder::new();
    let trace = trace(&folder);
    let found = text(simulate(&trace, &["--find-budget", "1.1"]));
    assert!(found.contains("by density") && found.contains(" bytes)"), "{found}");
    let args = ["--find-budget", "1.1", "--policy", "lru", "--format", "json"];
    let json: serde_json::Value = serde_json::from_str(&text(simulate(&trace, &args))).unwrap();
    let found = &json[0];
    assert!(found["ratio"].as_f64().unwrap() <= 1.1);
    assert_eq!(found["bytes"].as_u64().unwrap(), found["pieces"].as_u64().unwrap() << 20);
}

#[test]
fn traces_are_generated_the_same_from_the_same_seed() {
    let folder = Folder::new();
    let path = generated(&folder);
    let printed = run(&["generate", "solo", "--seed", "3", "--seek-every", "1min"]);
    assert!(text(printed).into_bytes() == std::fs::read(path).unwrap());
}

/// The program ends with this code and one line that has these words.
#[track_caller]
fn refuses(output: Output, code: i32, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "{words:?} in {text}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_bad_trace_is_named_with_its_line() {
    let folder = Folder::new();
    let path = folder.path("bad.csv");
    let good = std::fs::read_to_string(trace(&folder)).unwrap();
    std::fs::write(&path, [&good, "9e9,0,0,play,x\n"].concat()).unwrap();
    let line = format!("bad.csv: line {}: piece: \"x\"", good.lines().count() + 1);
    refuses(simulate(&path, &[]), 1, &["lookbehind: ", &line]);
    refuses(simulate(&folder.path("missing.csv"), &[]), 1, &["missing.csv: "]);
    refuses(simulate(&folder.path(""), &[]), 1, &["not a regular file"]);
}

#[test]
fn where_no_policy_takes_a_trace_that_is_said_once() {
    let folder = Folder::new();
    let path = folder.path("huge.csv");
    let storage = format!("# storage,0,{},1048576,1,0\n", u32::MAX);
    let head = "t_seconds,viewer,storage,event,piece\n";
    std::fs::write(&path, [&storage, head, "0,0,0,probe,0\n"].concat()).unwrap();
    for find in [&[][..], &["--find-budget", "1.1"]] {
        let output = simulate(&path, &[&["--policy", "library"], find].concat());
        let said = String::from_utf8_lossy(&output.stderr).matches("left out").count();
        assert_eq!(said, 1);
        refuses(output, 1, &["library: the library does not take it", "none of the policies"]);
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_no_trace() {
    let folder = Folder::new();
    let pipe = folder.path("pipe.csv");
    // To open it would wait for ever.
    if Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
        refuses(simulate(&pipe, &[]), 1, &["pipe.csv: not a regular file"]);
    }
}

#[test]
fn bad_options_are_refused() {
    let folder = Folder::new();
    let trace = trace(&folder);
    for args in [
        &["--policy", "best"][..],
        &["--budget", "0%"],
        &["--budget", "-1"],
        &["--budget", "much"],
        &["--budget", "5%,"],
        &["--find-budget", "0.5"],
        &["--find-budget", "1.1", "--budget", "5%"],
        &["--format", "xml"],
    ] {
        refuses(simulate(&trace, args), 2, &["error: "]);
    }
    refuses(run(&["simulate"]), 2, &["TRACE"]);
    refuses(run(&["generate", "films"]), 2, &["[possible values: solo"]);
    refuses(run(&["generate", "solo", "--zipf", "-1"]), 2, &["error: "]);
    refuses(run(&["generate", "solo", "--zipf=-1"]), 1, &["Zipf's exponent is -1"]);
    refuses(run(&["generate", "solo", "--load", "0"]), 1, &["the load is 0"]);
    refuses(run(&["generate", "solo", "--seek-every", "0s"]), 1, &["actions is 0"]);
}

#[test]
fn opt_says_what_it_needs() {
    let folder = Folder::new();
    let trace = trace(&folder);
    let output = simulate(&trace, &["--opt-memory", "1KiB", "--format", "csv"]);
    assert!(output.status.success());
    let (csv, notice) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
    let notice = notice.unwrap();
    assert!(
        notice.contains("opt needs") && notice.contains("allows 1.0 KiB: left out"),
        "{notice}"
    );
    assert!(!csv.unwrap().contains(",opt,"));
    refuses(simulate(&trace, &["--opt-memory", "1KiB", "--policy", "opt"]), 1, &["opt needs"]);
}

/// Whoever reads what is written may have enough.
#[test]
fn an_output_that_is_closed_is_no_failure() {
    for args in [&["generate", "catalogue"][..], &["generate", "live", "--seed", "2"]] {
        let mut command = program();
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it is our child");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && error.is_empty(), "{error}");
    }
}
