//! The cache file: stored responses outlive the process.

use super::common::{Scratch, Weir, eventually, pattern, run};
use super::parts::{last_range, part, ranged};
use super::scene::{Scene, is_hit, ok};
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const LARGE_BYTES: usize = 200_000;

/// An origin whose answers are 100 seconds old.
fn scene(options: &[&str]) -> Scene {
    Scene::with(options, |head, _| match head.target() {
        path if path.starts_with("/large") => {
            ok("Cache-Control: max-age=6000|Age: 100|ETag: \"a\"", &"large".repeat(LARGE_BYTES / 5))
        }
        _ => ok("Cache-Control: max-age=6000|Age: 100|Vary: Accept", "small"),
    })
}

#[track_caller]
fn said(scene: &Scene, wanted: &str) {
    scene.weir.wait_for_error(|line| line.contains(wanted));
}

#[test]
fn rule_07_what_is_stored_outlives_a_restart_and_ages() {
    for workers in ["1", "2"] {
        let scratch = Scratch::new();
        let options = ["--workers", workers, "--cache-file", &scratch.join("cache")];
        let mut scene = scene(&options);
        for path in ["/small", "/large"] {
            assert!(!is_hit(&scene.get(path)));
        }
        scene.stop(Signal::TERM);
        said(&scene, "saved 2 entries");
        let metadata = std::fs::metadata(scratch.join("cache")).expect("a file");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert!(!std::fs::exists(scratch.join("cache.new")).expect("a directory"));
        for entries in [2, 3] {
            scene.start(&options);
            said(&scene, &format!("loaded {entries} of {entries} entries"));
            let small = scene.get("/small");
            assert!(is_hit(&small) && small.text() == "small", "{small:?}");
            let age: u32 = small.head.get("age").expect("an age").parse().expect("a number");
            assert!((100..160).contains(&age), "{age}");
            let large = scene.get("/large");
            assert!(is_hit(&large) && large.text() == "large".repeat(LARGE_BYTES / 5));
            let part = scene.get_with("/large", "Range: bytes=199998-");
            assert_eq!((part.status(), part.text().as_str()), (206, "ge"));
            // Another variant is stored beside it, and saved.
            assert_eq!(is_hit(&scene.get_with("/small", "Accept: text/html")), entries == 3);
            scene.stop(Signal::TERM);
            said(&scene, "saved 3 entries");
        }
        assert_eq!((scene.asked("/small"), scene.asked("/large")), (2, 1));
    }
}

#[test]
fn rule_35_parts_outlive_a_restart() {
    let scratch = Scratch::new();
    let options = ["--cache-file", &scratch.join("cache")];
    let mut scene = Scene::with(&options, |head, _| ranged(head, "\"v1\"", &pattern(0, 500_000)));
    for range in ["0-99", "-1000", "200000-399999"] {
        assert!(!is_hit(&part(&scene, "/", range)));
    }
    scene.stop(Signal::TERM);
    said(&scene, "saved 1 entries");
    scene.start(&options);
    said(&scene, "loaded 1 of 1 entries");
    for (range, from, len) in [("10-19", 10, 10), ("-10", 499_990, 10), ("200000-399999", 200_000, 200_000)] {
        let answer = part(&scene, "/", range);
        assert!(is_hit(&answer) && answer.body.bytes == pattern(from, len), "{range}");
    }
    let answer = part(&scene, "/", "390000-499999");
    assert!(answer.body.bytes == pattern(390_000, 110_000));
    assert_eq!(last_range(&scene, "/").0.as_deref(), Some("bytes=400000-498999"));
    assert!(is_hit(&part(&scene, "/", "200000-")));
}

#[test]
fn only_a_drained_stop_saves() {
    let scratch = Scratch::new();
    let options = ["--cache-file", &scratch.join("cache")];
    let mut scene = scene(&options);
    for signal in [Signal::INT, Signal::KILL] {
        assert!(!is_hit(&scene.get("/small")), "{signal:?}");
        scene.stop(signal);
        assert!(!std::fs::exists(scratch.join("cache")).expect("a directory"), "{signal:?}");
        scene.start(&options);
    }
    scene.get("/small");
    scene.stop(Signal::TERM);
    let saved = std::fs::read(scratch.join("cache")).expect("a file");
    // The file keeps its content.
    for signal in [Signal::INT, Signal::KILL] {
        scene.start(&options);
        assert!(is_hit(&scene.get("/small")), "{signal:?}");
        scene.get("/large");
        scene.stop(signal);
        assert!(std::fs::read(scratch.join("cache")).expect("a file") == saved, "{signal:?}");
    }
}

/// A save that takes long keeps no operator waiting. Where the save is faster than the signal, the test tries again.
#[test]
fn a_stop_at_once_does_not_wait_for_the_save() {
    let scratch = Scratch::new();
    let options = ["--cache-file", &scratch.join("cache")];
    let mut scene = scene(&options);
    scene.get("/small");
    scene.stop(Signal::TERM);
    let mut stopped_in_the_save = |signal: Signal, code: i32| {
        scene.start(&options);
        (0..100).for_each(|number| drop(scene.get(&format!("/large?{number}"))));
        scene.weir.signal(Signal::TERM);
        eventually("the save begins", || {
            let begun = std::fs::exists(scratch.join("cache.new")).expect("a directory");
            (begun || !scene.weir.is_running()).then_some(())
        });
        if scene.weir.is_running() {
            scene.weir.signal(signal);
        }
        scene.weir.wait_exit().code() == Some(code)
    };
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        assert!((0..10).any(|_| stopped_in_the_save(signal, code)), "{signal:?}");
    }
    scene.start(&options);
    assert!(is_hit(&scene.get("/small")));
    assert!(!std::fs::exists(scratch.join("cache.new")).expect("a directory"), "the next start removes it");
}

#[test]
fn a_damaged_or_foreign_file_is_ignored_with_a_message() {
    let scratch = Scratch::new();
    let file = scratch.join("cache");
    let options = ["--cache-file", file.as_str()];
    let mut scene = scene(&options);
    scene.get("/small");
    scene.get("/large");
    scene.stop(Signal::TERM);
    let saved = std::fs::read(&file).expect("a file");
    // The body of the large one; it is the first, as it was used last.
    let mut damaged = saved.clone();
    damaged[LARGE_BYTES / 2] ^= 1;
    let mut newer = saved.clone();
    newer[8] = 2;
    let cases: [(&[u8], &str, [bool; 2]); 5] = [
        (&damaged, "loaded 1 of 2 entries (1 damaged, 0 left out)", [true, false]),
        (&saved[..LARGE_BYTES], "loaded 0 of 2 entries: ", [false, false]),
        (&saved[..saved.len() - 100], "ends too early", [false, true]),
        (&newer, "is of another version (2): ignored", [false, false]),
        (b"<html>", "is no cache file of weir's: ignored", [false, false]),
    ];
    for (bytes, message, hits) in cases {
        std::fs::write(&file, bytes).expect("writing");
        scene.start(&options);
        said(&scene, message);
        assert_eq!(["/small", "/large"].map(|path| is_hit(&scene.get(path))), hits, "{message}");
        scene.stop(Signal::TERM);
        let written = std::fs::read(&file).expect("a file");
        if bytes.starts_with(b"<") {
            said(&scene, "not saved");
            assert!(written == bytes, "what is not weir's stays");
        } else {
            assert_eq!(written.len(), saved.len(), "{message}");
        }
    }
    // An empty file is one that weir may write to.
    std::fs::write(&file, "").expect("writing");
    scene.start(&options);
    said(&scene, "loaded 0 of 0 entries");
    scene.get("/small");
    scene.stop(Signal::TERM);
    said(&scene, "saved 1 entries");
}

/// Owner and mode of a file or a directory.
fn change(path: &str, owner: u32, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    std::os::unix::fs::chown(path, Some(owner), None).expect("an owner");
}

/// A file that another user owns, or could have changed, is neither loaded nor written.
#[test]
fn rule_58_kind_16_a_file_that_others_own_or_may_write_is_refused() {
    const OTHER: u32 = 4242;
    let own = rustix::process::geteuid().as_raw();
    let scratch = Scratch::new();
    let directory = scratch.join("kept");
    std::fs::create_dir(&directory).expect("a directory");
    let (file, lock) = (format!("{directory}/cache"), format!("{directory}/cache.lock"));
    let options = ["--cache-file", file.as_str()];
    let mut scene = scene(&options);
    scene.get("/small");
    scene.stop(Signal::TERM);
    let saved = std::fs::read(&file).expect("a file");
    // Only root can give files away.
    let other = if own == 0 { OTHER } else { own };
    let (owned, mode) =
        ("belongs to user 4242, and not to weir's or root", "others than its owner may write to");
    for (path, owner, bits, expected) in [
        (&file, own, 0o666, Some(mode)),
        (&file, own, 0o620, Some(mode)),
        (&file, own, 0o602, Some(mode)),
        (&file, other, 0o600, Some(owned)),
        (&file, other, 0o644, Some(owned)),
        (&directory, own, 0o777, Some(mode)),
        (&directory, own, 0o1777, Some(mode)),
        (&directory, own, 0o770, Some(mode)),
        (&directory, other, 0o755, Some(owned)),
        (&lock, other, 0o600, Some(owned)),
        (&lock, own, 0o666, Some(mode)),
        (&file, own, 0o644, None),
        (&file, own, 0o640, None),
        (&directory, own, 0o755, None),
    ] {
        if expected == Some(owned) && own != 0 {
            continue;
        }
        change(path, owner, bits);
        scene.start(&options);
        match expected {
            Some(why) => said(&scene, why),
            None => said(&scene, "loaded 1 of 1 entries"),
        }
        assert_eq!(is_hit(&scene.get("/small")), expected.is_none(), "{path} {owner} {bits:o}");
        scene.stop(Signal::TERM);
        if expected.is_some() {
            said(&scene, "not saved");
            assert!(std::fs::read(&file).expect("a file") == saved, "{path} {owner} {bits:o}");
        }
        change(path, own, if path == &directory { 0o755 } else { 0o600 });
    }
    // It is weir's own again.
    scene.start(&options);
    said(&scene, "loaded 1 of 1 entries");
    assert!(is_hit(&scene.get("/small")));
}

/// An entry of weir's own form with right checksums that brings the framing of another answer.
#[test]
fn rule_58_kind_16_a_forged_entry_is_left_out_with_a_message() {
    let scratch = Scratch::new();
    let file = scratch.join("cache");
    let options = ["--cache-file", file.as_str()];
    let mut scene = Scene::with(&options, |head, _| {
        ok("Cache-Control: max-age=6000|X-Padding-For: 123456", &head.target()[1..])
    });
    scene.get("/one");
    scene.get("/two");
    scene.stop(Signal::TERM);
    let saved = std::fs::read(&file).expect("a file");
    for forged in ["Content-Length: 00002", "Transfer-Encoding: ck", "Proxy-Connection: clo"] {
        let mut bytes = saved.clone();
        let line = b"X-Padding-For: 123456";
        assert_eq!(forged.len(), line.len());
        let places: Vec<usize> =
            (0..bytes.len() - line.len()).filter(|at| bytes[*at..].starts_with(line)).collect();
        assert_eq!(places.len(), 2);
        // The second one, which is what was asked for first: from its key on to its body.
        bytes[places[1]..places[1] + line.len()].copy_from_slice(forged.as_bytes());
        let from = (0..places[1]).rfind(|at| bytes[*at..].starts_with(b"http://")).expect("a key");
        let to =
            (places[1]..bytes.len()).find(|at| bytes[*at..].starts_with(b"\r\none")).expect("a body") + 5;
        let sum = crc32(&bytes[from..to]).to_le_bytes();
        bytes[to..to + 4].copy_from_slice(&sum);
        std::fs::write(&file, bytes).expect("writing");
        scene.start(&options);
        said(&scene, "loaded 1 of 2 entries (1 damaged, 0 left out)");
        assert!(is_hit(&scene.get("/two")), "{forged}");
        let answer = scene.get("/one");
        assert_eq!((is_hit(&answer), answer.text().as_str()), (false, "one"), "{forged}");
        scene.stop(Signal::TERM);
    }
}

/// As the file has it (IEEE 802.3), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(
            sum ^ u32::from(*byte),
            |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xEDB8_8320 } else { sum >> 1 },
        )
    })
}

#[test]
fn what_cannot_be_written_is_an_error_of_configuration() {
    let scratch = Scratch::new();
    let expected = "expected a file, or none yet, in a directory that weir can write to";
    let link = scratch.join("link");
    std::os::unix::fs::symlink(scratch.file("target", ""), &link).expect("a link");
    let pipe = scratch.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let in_the_way = |name: &str, other: &str| {
        std::fs::create_dir(scratch.join(other)).expect("a directory");
        scratch.join(name)
    };
    for (path, why) in [
        (scratch.join("missing/cache"), "No such file or directory"),
        (scratch.join(""), ""),
        (scratch.join(".."), "directory"),
        (link, "symbolic link"),
        (pipe, "this is no file"),
        ("/dev/null".to_owned(), "this is no file"),
        ("/proc/cache".to_owned(), "cannot keep the cache there"),
        (in_the_way("locked", "locked.lock"), "locked.lock: Is a directory"),
        (in_the_way("new", "new.new"), "new.new: Is a directory"),
    ] {
        let said = run(&["--port", "0", "--cache", "--cache-file", &path]);
        assert!(
            said.code == 64 && said.err.contains(expected) && said.err.contains(why),
            "{path}: {}",
            said.said()
        );
        let config = scratch.file("weir.conf", format!("cache\ncache-file {path}\n"));
        let said = run(&["--port", "0", "-c", &config]);
        assert!(said.code == 78 && said.err.contains("weir.conf:2: "), "{path}: {}", said.said());
        // Without a cache there is nothing to keep.
        let said = run(&["--check", "--cache-file", &path]);
        assert_eq!(said.code, 0, "{}", said.said());
    }
}

#[test]
fn of_two_daemons_with_one_file_the_second_does_not_start() {
    let scratch = Scratch::new();
    let file = scratch.join("cache");
    let options = ["--cache-file", file.as_str()];
    let mut scene = scene(&options);
    scene.get("/small");
    let expected = format!("{file}: cannot keep the cache there: another process does");
    let refused = |options: &[&str], code: i32, place: &str| {
        let said = run(&[&["--port", "0", "--cache"], options].concat());
        assert!(
            said.code == code && said.err.contains(place) && said.err.contains(&expected),
            "{}",
            said.said()
        );
        assert!(!said.err.contains("listening"), "{}", said.err);
    };
    let config = scratch.file("weir.conf", format!("cache-file {file}\n"));
    refused(&options, 69, "--cache-file: ");
    refused(&["-c", &config], 69, "weir.conf:1: ");
    // Beside it there is room.
    let mut other = Weir::start(&["--cache", "--cache-file", &scratch.join("other")]);
    scene.stop(Signal::TERM);
    said(&scene, "saved 1 entries");
    // The lock ends with the process, however that ends.
    for signal in [Signal::KILL, Signal::INT, Signal::TERM] {
        scene.start(&options);
        assert!(is_hit(&scene.get("/small")), "{signal:?}");
        refused(&options, 69, "--cache-file: ");
        scene.stop(signal);
    }
    other.signal(Signal::TERM);
    assert_eq!(other.wait_exit().code(), Some(0));
}

/// The system ends who writes beyond its limit to the size of files, unless it can be told so.
#[test]
fn a_limit_to_the_size_of_files_is_an_error_like_a_full_disk() {
    let scratch = Scratch::new();
    let (file, logs) = (scratch.join("cache"), scratch.join("logs"));
    let mut scene = scene(&["--cache-file", &file]);
    scene.get("/small");
    scene.stop(Signal::TERM);
    let saved = std::fs::read(&file).expect("a file");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f 8 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_weir"), "--cache"]);
    command.args(["--host", "127.0.0.1", "--port", "0", "--allow", "127.0.0.0/8"]);
    command.args(["--cache-file", &file, "--log-dir", &logs]);
    scene.replace(Weir::spawn(command, 1).expect("a start with small files"));
    assert!(is_hit(&scene.get("/small")));
    scene.get("/large");
    eventually("lines of the access log are lost", || {
        scene.get("/small");
        (scene.weir.statistics().get("log_lines_lost") > 0).then_some(())
    });
    scene.weir.signal(Signal::TERM);
    assert_eq!(scene.weir.wait_exit().code(), Some(0));
    said(&scene, "cannot save to");
    assert!(std::fs::read(&file).expect("a file") == saved, "what was saved stays");
    assert!(!std::fs::exists(scratch.join("cache.new")).expect("a directory"));
}

/// The key is the exact target, bytes beyond ASCII included, in the file as well.
#[test]
fn rule_26_kind_10_raw_targets_outlive_a_restart() {
    let scratch = Scratch::new();
    let options = ["--cache-file", &scratch.join("cache")];
    let mut scene = scene(&options);
    let targets: [&[u8]; 3] = [b"/\xc3\xa4", b"/a", b"/\xe4\xff"];
    let ask = |scene: &Scene, target: &[u8]| {
        let request = [b"GET http://{o}", target, b" HTTP/1.1\r\nHost: {o}\r\n\r\n"].concat();
        scene.weir.connect().ask(scene.origin.fill(request))
    };
    for target in targets {
        assert!(!is_hit(&ask(&scene, target)));
    }
    scene.stop(Signal::TERM);
    said(&scene, "saved 3 entries");
    scene.start(&options);
    said(&scene, "loaded 3 of 3 entries");
    for target in targets {
        assert!(is_hit(&ask(&scene, target)));
    }
    // Percent-encoded it is the same.
    for target in [&b"/%C3%A4"[..], b"/%E4%FF", b"/\xc3%A4"] {
        assert!(is_hit(&ask(&scene, target)));
    }
    assert!(!is_hit(&ask(&scene, b"/\xe4")));
}
