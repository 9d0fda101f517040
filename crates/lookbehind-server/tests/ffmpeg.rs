//! A real film, decoded from the server and from its file, gives the same frames.
//!
//! Runs with `LOOKBEHIND_FFMPEG=1`, and then needs ffmpeg; a film of 200 MB with
//! `LOOKBEHIND_FULL=1` as well.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::{Folder, Server, full};

fn wanted() -> bool {
    let wanted = std::env::var_os("LOOKBEHIND_FFMPEG").is_some_and(|value| value == "1");
    if !wanted {
        println!("skipped: set LOOKBEHIND_FFMPEG=1 to run it, which needs ffmpeg");
    }
    wanted
}

fn ffmpeg(arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y"]).args(arguments).stderr(Stdio::inherit());
    let output = command.output().expect("ffmpeg is installed");
    assert!(output.status.success(), "ffmpeg {arguments:?}");
    output.stdout
}

/// Makes a film with its index at the end, which makes players seek. Noise keeps it large.
fn make(path: &Path, seconds: &str, bitrate: &str) {
    let video = "testsrc2=size=640x360:rate=25,noise=alls=40:allf=t";
    let path = path.to_str().expect("a path in UTF-8");
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        video,
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440:sample_rate=48000",
        "-t",
        seconds,
        "-c:v",
        "mpeg4",
        "-b:v",
        bitrate,
        "-minrate",
        bitrate,
        "-maxrate",
        bitrate,
        "-bufsize",
        "8M",
        "-g",
        "50",
        "-c:a",
        "aac",
        path,
    ]);
}

fn frames(input: &str, seek: &[&str]) -> Vec<u8> {
    let mut arguments = seek.to_vec();
    arguments.extend(["-i", input, "-f", "framemd5", "-"]);
    ffmpeg(&arguments)
}

#[test]
fn the_frames_are_the_files() {
    if !wanted() {
        return;
    }
    let folder = Folder::new();
    let film = folder.path("film.mp4");
    let (seconds, bitrate, least) =
        if full() { ("80", "22M", 200_000_000) } else { ("10", "8M", 5_000_000) };
    make(&film, seconds, bitrate);
    let len = film.metadata().expect("ffmpeg made it").len();
    println!("a film of {len} bytes");
    assert!(len >= least, "{len}");
    // A small budget, so that the film passes through it several times.
    let budget = (len / 8).to_string();
    let server = Server::start(&[&film], &["--budget", &budget, "--piece-size", "256KiB"]);
    let url = format!("http://{}/media/0/film.mp4", server.address);
    let file = film.to_str().expect("a path in UTF-8");
    let expected = frames(file, &[]);
    assert!(expected.iter().filter(|byte| **byte == b'\n').count() > 200, "frames");
    assert!(frames(&url, &[]) == expected, "frames differ");
    let seek = ["-ss", "6.5"];
    assert!(frames(&url, &seek) == frames(file, &seek), "frames differ after a seek");
}
