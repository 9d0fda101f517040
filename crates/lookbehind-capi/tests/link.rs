//! The header and the libraries as a C programmer uses them: the example is compiled, linked and run.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// An empty folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("cargo's folder is writable");
    folder
}

/// The library that cargo has built along with this test: beside it.
fn built(name: &str) -> PathBuf {
    let this = env::current_exe().expect("a test has a path");
    let built = this.with_file_name(name);
    assert!(built.exists(), "cargo puts the library of a test beside it: {}", built.display());
    built
}

fn cc() -> Command {
    let mut cc = Command::new(env::var_os("CC").unwrap_or("cc".into()));
    cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic"]);
    cc.arg("-I").arg(here().join("include"));
    cc
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    output
}

fn assert_tour(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("a player read the film, and sought back"), "{said}");
}

#[test]
fn the_example_runs_with_the_static_library() {
    let folder = folder("static");
    let program = folder.join("example");
    let mut cc = cc();
    cc.arg(here().join("examples/example.c")).arg(built("liblookbehind_capi.a"));
    run(cc.args(["-lpthread", "-ldl", "-lm", "-o"]).arg(&program));
    assert_tour(&run(&mut Command::new(program)));
}

#[test]
#[cfg(target_os = "linux")]
fn the_example_runs_with_the_shared_library_under_its_name_in_the_system() {
    let folder = folder("shared");
    let program = folder.join("example");
    let real = folder.join("liblookbehind.so.0");
    fs::copy(built("liblookbehind_capi.so"), real).expect("both are files of ours");
    std::os::unix::fs::symlink("liblookbehind.so.0", folder.join("liblookbehind.so"))
        .expect("the folder was empty");
    let mut cc = cc();
    cc.arg(here().join("examples/example.c")).arg("-L").arg(&folder).arg("-llookbehind");
    run(cc.arg("-o").arg(&program));
    // The loader looks for the name that the library itself gives.
    assert_tour(&run(Command::new(program).env("LD_LIBRARY_PATH", &folder)));
}

#[test]
#[cfg(target_os = "linux")]
fn the_example_runs_with_what_is_installed() {
    let prefix = folder("installed");
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let mut install = Command::new("bash");
    install.arg(here().join("install.sh")).arg("--prefix").arg(&prefix);
    run(install.args(["--profile", profile]));
    for file in ["include/lookbehind.h", "lib/liblookbehind.a", "lib/liblookbehind.so.0"] {
        assert!(prefix.join(file).exists(), "{file}");
    }
    if Command::new("pkg-config").arg("--version").output().is_err() {
        println!("SKIPPED: there is no pkg-config");
        return;
    }
    let flags = |arguments: &[&str]| {
        let mut ask = Command::new("pkg-config");
        ask.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig")).arg("lookbehind").args(arguments);
        let said = String::from_utf8(run(&mut ask).stdout).expect("flags are ASCII");
        said.split_whitespace().map(String::from).collect::<Vec<_>>()
    };
    let shared = flags(&["--cflags", "--libs"]);
    let mut linked_statically = flags(&["--cflags", "--libs", "--static"]);
    assert!(linked_statically.len() > shared.len(), "{linked_statically:?}");
    for flag in &mut linked_statically {
        if flag == "-llookbehind" {
            *flag = "-l:liblookbehind.a".into();
        }
    }
    for flags in [shared, linked_statically] {
        let program = prefix.join("example");
        let mut cc = Command::new(env::var_os("CC").unwrap_or("cc".into()));
        cc.args(["-std=c11", "-o"]).arg(&program).arg(here().join("examples/example.c"));
        run(cc.args(flags));
        assert_tour(&run(Command::new(program).env("LD_LIBRARY_PATH", prefix.join("lib"))));
    }
}

#[test]
fn the_header_is_cxx_as_well() {
    let cxx = env::var_os("CXX").unwrap_or("c++".into());
    if Command::new(&cxx).arg("--version").output().is_err() {
        println!("SKIPPED: there is no C++ compiler");
        return;
    }
    let source = folder("cxx").join("uses.cpp");
    let uses = "#include <lookbehind.h>\n#include <lookbehind.h>\n\
        lb_status use(lb_cache *cache) { lb_cache_options o{}; return lb_cache_new(&o, cache); }\n";
    fs::write(&source, uses).expect("the folder is writable");
    let mut command = Command::new(cxx);
    command.args(["-std=c++11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"]);
    run(command.arg("-I").arg(here().join("include")).arg(source));
}
