//! `include/lookbehind.h` is what the sources make of it. `LOOKBEHIND_WRITE_HEADER=1` writes it.

use std::fs;
use std::path::{Path, PathBuf};

/// The sections of the header, each made of one module.
const SECTIONS: [(&str, &str); 9] = [
    ("status", "How a call went"),
    ("cache", "Caches"),
    ("storage", "Storages"),
    ("ingest", "Pieces in: blocks, or whole"),
    ("pin", "Pins: pieces where they lie"),
    ("read", "Reads that wait"),
    ("player", "Players"),
    ("prefer", "What should stay"),
    ("wanted", "What is wanted"),
];

const HEAD: &str = r#"/*
 * Lookbehind: a piece cache in RAM for streaming media.
 *
 * Pieces of films arrive from anywhere, whole or in blocks, are verified, published, read by many
 * threads at once, kept while a player is likely to want them, and evicted, under one budget of
 * memory. A cache has storages, one for each film; a storage has pieces, with numbers from 0.
 *
 * Every function may be called from any thread.
 *
 * STATUS. Functions return an lb_status, unless they cannot fail. What they find they write where
 * they are told to, and only if they return LB_OK. A pointer must be good for what it is said to
 * point to until the function returns; data is copied.
 *
 * HANDLES are numbers. Each is closed once. One that was closed, zero, or one of another kind is
 * refused with LB_INVALID_HANDLE.
 *
 * PINS are addresses of bytes within a piece, which stay there, as they are, until lb_release is
 * called with the address, on any thread. They outlive eviction, storages and caches, and count
 * against the budget: release them soon.
 *
 * TIMES are in milliseconds. A timeout of 0 does not wait, a negative one waits for ever. Functions
 * without a timeout do not wait.
 *
 * CALLBACKS come on any thread, several at once, while the library holds no lock. The thread goes
 * on with what it was at when they return, publishing or evicting: be brief. They may call any
 * function here with a timeout of 0 or without one, and must not throw. A callback whose calls bring
 * about what it is told of is called within itself. What a callback is given other than pins is good
 * until it returns.
 *
 * THREADS of the library's own there are none but a timer for each cache, while reads wait that have a
 * timeout. In a child of fork it is missing, and locks may be held for ever: only exec is safe there.
 */
#ifndef LOOKBEHIND_H
#define LOOKBEHIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
"#;

const TAIL: &str = "
#ifdef __cplusplus
}
#endif

#endif
";

fn section(module: &str, heading: &str) -> String {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src").join(module);
    let made = cbindgen::Builder::new()
        .with_src(source.with_extension("rs"))
        .with_config(cbindgen::Config {
            language: cbindgen::Language::C,
            documentation_style: cbindgen::DocumentationStyle::Cxx,
            style: cbindgen::Style::Both,
            // Nothing in its section uses it.
            export: cbindgen::ExportConfig {
                include: ["lb_status", "lb_drop_fn"].map(String::from).into(),
                ..Default::default()
            },
            no_includes: true,
            usize_is_size_t: true,
            line_length: 100,
            ..Default::default()
        })
        .generate()
        .expect("the sources are right, for they compile");
    let mut text = Vec::new();
    made.write(&mut text);
    let text = String::from_utf8(text).expect("the sources are");
    let line = "-".repeat(93 - heading.len());
    format!("\n/* {heading} {line} */\n\n{}\n", text.trim())
}

#[test]
fn the_header_is_what_the_sources_make_of_it() {
    let sections = SECTIONS.map(|(module, heading)| section(module, heading)).concat();
    let made = format!("{HEAD}{sections}{TAIL}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/lookbehind.h");
    if std::env::var_os("LOOKBEHIND_WRITE_HEADER").is_some() {
        fs::write(&path, &made).expect("the folder is there");
    }
    let kept = fs::read_to_string(&path).expect("it is committed");
    assert!(
        made == kept,
        "run this test with LOOKBEHIND_WRITE_HEADER=1, and look what has changed"
    );
}
