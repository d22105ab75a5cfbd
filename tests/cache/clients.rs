//! Real clients: curl's ways of not fetching what it has.

use super::common::{Scratch, pattern};
use super::scene::{Reply, Scene};
use std::process::Command;

/// Runs curl through the proxy; standard output.
#[track_caller]
fn curl(scene: &Scene, path: &str, arguments: &[&str]) -> String {
    let run = Command::new("curl")
        .args(["-sS", "--noproxy", "", "-x", &scene.weir.url(), "--max-time", "10"])
        .args(arguments)
        .arg(scene.origin.url(path))
        .output()
        .expect("curl runs");
    assert!(run.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8_lossy(&run.stdout).into_owned()
}

fn file() -> Scene {
    Scene::new(|_, _| {
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"v1\"\r\nAccept-Ranges: bytes\r\n\
                    Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 100000\r\n\r\n";
        Reply::Bytes([head.as_bytes().to_vec(), pattern(0, 100_000)].concat())
    })
}

#[test]
fn curl_asks_whether_what_it_has_is_still_good() {
    let (scene, scratch) = (file(), Scratch::new());
    let (tag, out) = (scratch.join("tag"), scratch.join("out"));
    let code = ["-w", "%{http_code}", "-o", &out];
    let with = |more: &[&str]| curl(&scene, "/f", &[&code[..], more].concat());
    assert_eq!(with(&["--etag-save", &tag]), "200");
    assert_eq!(with(&["--etag-compare", &tag]), "304");
    assert_eq!(with(&["-z", "Sun, 06 Nov 1994 08:49:37 GMT"]), "304");
    assert_eq!(with(&["-z", "Sat, 05 Nov 1994 08:49:37 GMT"]), "200");
    assert_eq!(with(&["-I"]), "200");
    assert_eq!(scene.asked("/f"), 1);
}

#[test]
fn curl_takes_parts_and_goes_on_where_it_stopped() {
    let (scene, scratch) = (file(), Scratch::new());
    let out = scratch.join("out");
    curl(&scene, "/f", &["-o", &out]);
    let read = || std::fs::read(&out).expect("what curl wrote");
    assert!(read() == pattern(0, 100_000));
    curl(&scene, "/f", &["-r", "5000-5999", "-o", &out]);
    assert!(read() == pattern(5000, 1000));
    std::fs::write(&out, pattern(0, 40_000)).expect("the first part");
    curl(&scene, "/f", &["-C", "-", "-o", &out]);
    assert!(read() == pattern(0, 100_000));
    assert_eq!(scene.asked("/f"), 1);
}

/// As apt, pip and the like fetch the same files on many machines.
#[test]
fn repeated_downloads_come_from_memory() {
    let (scene, scratch) = (file(), Scratch::new());
    for machine in 0..3 {
        for name in ["index", "a.deb", "b.whl"] {
            let out = scratch.join(&format!("{machine}-{name}"));
            curl(&scene, &format!("/{name}"), &["-H", "Cache-Control: max-age=0", "-A", "apt", "-o", &out]);
            curl(&scene, &format!("/{name}"), &["-A", "pip", "-o", &out]);
            assert!(std::fs::read(&out).expect("a file") == pattern(0, 100_000));
        }
    }
    let statistics = scene.at_rest();
    assert_eq!(statistics.get("cache_hits"), 9, "{statistics:?}");
}
