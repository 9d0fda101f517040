//! Compiles the libtorrent adapter and what uses it, and links libtorrent.

use std::path::{Path, PathBuf};
use std::process::exit;

const ADAPTER: &str = "../libtorrent";
const C_INTERFACE: &str = "../lookbehind-capi/include";

fn main() {
    let (adapter, interface) = (format!("{ADAPTER}/src"), format!("{ADAPTER}/include"));
    let folders = [&adapter, &interface, C_INTERFACE, "cpp"];
    for folder in folders {
        println!("cargo::rerun-if-changed={folder}");
    }
    // 2.1 has another disk interface. The compiler knows the system's folders, and their order.
    let mut library = pkg_config::Config::new();
    library.range_version("2.0.8".."2.1").print_system_cflags(false);
    let found = library.probe("libtorrent-rasterbar").unwrap_or_else(|error| {
        println!("cargo::error=libtorrent 2.0.8 or a later 2.0 is needed, with its headers");
        println!("cargo::error=(on Debian: libtorrent-rasterbar-dev, g++, pkg-config): {error}");
        exit(1);
    });
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").files(sources(folders[0])).files(sources("cpp"));
    build.include(folders[1]).include(C_INTERFACE);
    build.includes(&found.include_paths);
    for (name, value) in &found.defines {
        build.define(name, value.as_deref());
    }
    build.flag_if_supported("-Wno-non-template-friend");
    // Every block passes through templates of libtorrent's and Boost's that are compiled here.
    build.opt_level(2).compile("lookbehind_torrent_cpp");
}

/// The C++ files of a folder.
fn sources(folder: &str) -> impl Iterator<Item = PathBuf> {
    let entries = Path::new(folder).read_dir().into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "cpp"))
}
