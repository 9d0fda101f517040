//! Where and with what it was measured.

use std::fs;
use std::process::Command;

/// The crates that are compared, as the lock file of the workspace names them.
const CRATES: [&str; 15] = [
    "lookbehind",
    "crossbeam-epoch",
    "seize",
    "arc-swap",
    "haphazard",
    "left-right",
    "moka",
    "quick_cache",
    "foyer-memory",
    "papaya",
    "dashmap",
    "scc",
    "ahash",
    "bytes",
    "tokio",
];

/// One line for each fact.
#[must_use]
pub fn facts() -> Vec<(&'static str, String)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
    vec![
        ("processor", field(&cpu, "model name")),
        ("cores used", crate::thread::cores().to_string()),
        ("cache that each core sees", field(&cpu, "cache size")),
        ("memory", field(&memory, "MemTotal")),
        ("kernel", read("/proc/sys/kernel/osrelease")),
        ("huge pages", read("/sys/kernel/mm/transparent_hugepage/enabled")),
        ("load before", read("/proc/loadavg")),
        ("compiler", rustc.unwrap_or_else(|_| "unknown".into())),
        ("versions", versions()),
    ]
}

fn versions() -> String {
    let lock = include_str!("../../Cargo.lock");
    let version = |name: &&str| {
        let entry = lock
            .split("[[package]]")
            .find(|entry| entry.lines().any(|line| line == format!("name = \"{name}\"")))?;
        let line = entry.lines().find_map(|line| line.strip_prefix("version = "))?;
        Some(format!("{name} {}", line.trim_matches('"')))
    };
    CRATES.iter().filter_map(version).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_lock_file_names_every_crate_that_is_compared() {
        assert_eq!(super::versions().split(", ").count(), super::CRATES.len());
    }
}
