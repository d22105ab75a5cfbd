//! Real clients: curl's ways of not fetching what it has.

use super::common::weir::finish;
use super::common::{Head, Scratch, pattern};
use super::scene::{Reply, Scene, is_hit, ok, response, unmodified};
use std::path::Path;
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

/// curl requests parts of a file that is not stored, as a resumed download does.
#[test]
fn rule_35_curl_takes_parts_of_what_is_not_there_yet() {
    let scene = Scene::new(|head, _| {
        let (start, end) =
            match head.get("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) {
                Some((start, end)) => {
                    (start.parse().expect("a number"), end.parse().map_or(100_000, |end: usize| end + 1))
                }
                None => (0, 100_000),
            };
        let fields = "Cache-Control: max-age=60\r\nETag: \"v1\"\r\nAccept-Ranges: bytes\r\n";
        let (line, range) = match end - start {
            100_000 => ("200 OK", String::new()),
            _ => ("206 Partial Content", format!("Content-Range: bytes {start}-{}/100000\r\n", end - 1)),
        };
        let head = format!("HTTP/1.1 {line}\r\n{fields}{range}Content-Length: {}\r\n\r\n", end - start);
        Reply::Bytes([head.into_bytes(), pattern(start as u64, end - start)].concat())
    });
    let scratch = Scratch::new();
    let out = scratch.join("out");
    let read = || std::fs::read(&out).expect("what curl wrote");
    curl(&scene, "/f", &["-r", "0-39999", "-o", &out]);
    // Another machine has the same beginning, and goes on; a third one wants everything.
    curl(&scene, "/f", &["-C", "-", "-o", &out]);
    assert!(read() == pattern(0, 100_000));
    curl(&scene, "/f", &["-r", "39000-40999", "-o", &out]);
    assert!(read() == pattern(39_000, 2000));
    let out = scratch.join("whole");
    curl(&scene, "/f", &["-o", &out]);
    assert!(std::fs::read(&out).expect("what curl wrote") == pattern(0, 100_000));
    assert_eq!(scene.asked("/f"), 2);
}

/// A page and what belongs to it, as two browsers load it, reload it, and reload it for good.
#[test]
fn browsers_load_a_page_twice() {
    const MODIFIED: &str = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT";
    let scene = Scene::new(|head, _| {
        let (fields, body) = match head.target() {
            "/" => ("Cache-Control: no-cache|ETag: W/\"page\"|Vary: Accept-Encoding", "<html>"),
            "/a.css" => ("Cache-Control: public, max-age=31536000, immutable|ETag: \"css\"", "a{}"),
            "/a.js" => ("Cache-Control: max-age=60|ETag: \"js\"|Vary: Accept-Encoding", "a()"),
            _ => (MODIFIED, "png"),
        };
        let tag = fields.split("ETag: ").nth(1).and_then(|rest| rest.split('|').next());
        match head.get("if-none-match").is_some_and(|asked| Some(asked) == tag)
            || head.has("if-modified-since")
        {
            true => unmodified(fields),
            false => ok(fields, body),
        }
    });
    const PAGE: [(&str, &str, &str); 4] = [
        ("/", "If-None-Match: W/\"page\"", "<html>"),
        ("/a.css", "If-None-Match: \"css\"", "a{}"),
        ("/a.js", "If-None-Match: \"js\"", "a()"),
        ("/a.png", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", "png"),
    ];
    let accepts =
        "Accept: */*|Accept-Encoding: gzip, deflate|Accept-Language: de,en;q=0.5|Connection: keep-alive";
    let load = |agent: &str, more: fn(&str) -> String| {
        PAGE.map(|(path, condition, body)| {
            let answer = scene.get_with(path, &format!("User-Agent: {agent}|{accepts}|{}", more(condition)));
            let good = answer.status() == 304 || answer.text() == body;
            assert!(good, "{agent} {path}: {answer:?}");
            (answer.status(), is_hit(&answer))
        })
    };
    let asked = || PAGE.map(|(path, ..)| scene.asked(path));
    let nothing = |_: &str| String::new();
    assert_eq!(load("one", nothing), [(200, false); 4]);
    assert_eq!(asked(), [1, 1, 1, 1]);
    // Another browser: the page is confirmed, the rest comes from memory.
    assert_eq!(load("two", nothing), [(200, false), (200, true), (200, true), (200, true)]);
    assert_eq!(asked(), [2, 1, 1, 1]);
    // The first one has it all, and asks.
    assert_eq!(load("one", str::to_owned), [(304, false), (304, true), (304, true), (304, true)]);
    assert_eq!(asked(), [3, 1, 1, 1]);
    // Reload: everything is confirmed by the origin, and nothing comes twice.
    let reload = |condition: &str| format!("{condition}|Cache-Control: max-age=0");
    assert_eq!(load("one", reload), [(304, false); 4]);
    assert_eq!(asked(), [4, 2, 2, 2]);
    // Reload without the browser's own cache.
    assert_eq!(load("two", |_| "Cache-Control: no-cache|Pragma: no-cache".to_owned()), [(200, false); 4]);
    assert_eq!(asked(), [5, 3, 3, 3]);
    assert!(PAGE.iter().all(|(path, ..)| {
        let last = scene.last(path);
        last.has("if-none-match") || last.has("if-modified-since")
    }));
    assert_eq!(load("one", nothing)[1..], [(200, true); 3]);
    scene.at_rest();
}

/// Whether a program is there.
fn is_there(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().expect("sh");
    if !found.status.success() {
        eprintln!("SKIPPED: {program} is not installed");
    }
    found.status.success()
}

/// A package as dpkg-deb makes it, its index, and the release file over that.
fn repository(scratch: &Scratch) -> [(&'static str, Vec<u8>); 3] {
    let root = scratch.path().join("package");
    std::fs::create_dir_all(root.join("DEBIAN")).expect("a folder");
    let about =
        "Package: weir-test\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\n";
    let control = format!("{about}Description: nothing\n");
    std::fs::write(root.join("DEBIAN/control"), &control).expect("a file");
    std::fs::write(root.join("content"), pattern(0, 300_000)).expect("a file");
    let file = scratch.join("weir-test.deb");
    let mut command = Command::new("dpkg-deb");
    command.args(["--build", "-Znone"]).arg(&root).arg(&file);
    let run = finish(command);
    assert_eq!(run.code, 0, "{run:?}");
    let sum = |path: &str| {
        let mut command = Command::new("sha256sum");
        command.arg(path);
        finish(command).out.split(' ').next().unwrap_or_default().to_owned()
    };
    let package = std::fs::read(&file).expect("a package");
    let index = format!(
        "{about}Filename: ./weir-test.deb\nSize: {}\nSHA256: {}\nDescription: nothing\n\n",
        package.len(),
        sum(&file)
    );
    let sum = sum(&scratch.file("Packages", &index));
    let release = format!(
        "Origin: test\nSuite: test\nCodename: test\nDate: Sun, 22 Nov 2020 00:00:00 UTC\nArchitectures: all amd64 arm64\n\
         SHA256:\n {sum} {} Packages\n",
        index.len()
    );
    [("Packages", index.into_bytes()), ("Release", release.into_bytes()), ("weir-test.deb", package)]
}

/// An origin of these files, by the last parts of their paths, that confirms what has not changed.
fn mirror(files: &[(&'static str, Vec<u8>)]) -> Scene {
    let served = files.to_vec();
    Scene::new(move |head, _| {
        let name = head.target().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let Some((_, body)) = served.iter().find(|(known, _)| *known == name) else {
            return Reply::Bytes(response(404, "", "nothing here"));
        };
        if head.get("if-none-match").is_some_and(|tag| tag == format!("\"{name}\"")) {
            return unmodified("Cache-Control: max-age=600");
        }
        let kind = if body.starts_with(b"<") { "text/html" } else { "text/plain" };
        let fields = format!("Cache-Control: max-age=600\r\nETag: \"{name}\"\r\nContent-Type: {kind}\r\n");
        let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
        Reply::Bytes([head.as_bytes(), body].concat())
    })
}

/// Without the environment's proxies.
fn without_proxies(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
}

/// The one file with that end in a directory.
fn only_file(directory: &Path, end: &str) -> Vec<u8> {
    let entries = std::fs::read_dir(directory).expect("a folder").filter_map(Result::ok);
    let mut found = entries.filter(|entry| entry.path().extension().is_some_and(|found| found == end));
    std::fs::read(found.next().expect("a package").path()).expect("a package")
}

/// apt itself, on two machines: the second one gets the package from memory, and the index as soon as the origin has said
/// that it is still the same.
#[test]
fn apt_downloads_twice() {
    if !["apt-get", "dpkg-deb", "sha256sum"].into_iter().all(is_there) {
        return;
    }
    let scratch = Scratch::new();
    let files = repository(&scratch);
    let scene = mirror(&files);
    for machine in ["one", "two"] {
        let root = scratch.path().join(machine);
        for folder in ["state/lists/partial", "cache/archives/partial", "etc"] {
            std::fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        let place = |name: &str| root.join(name).to_string_lossy().into_owned();
        std::fs::write(root.join("status"), "").expect("a file");
        std::fs::write(root.join("list"), format!("deb [trusted=yes] {} ./\n", scene.origin.url("/")))
            .expect("a file");
        let configuration = format!(
            "Dir::State {:?};\nDir::State::status {:?};\nDir::Cache {:?};\nDir::Etc {:?};\nDir::Etc::SourceList {:?};\n\
             APT::Sandbox::User \"\";\nAcquire::Languages \"none\";\nAcquire::http::Proxy {:?};\n",
            place("state"),
            place("status"),
            place("cache"),
            place("etc"),
            place("list"),
            scene.weir.url(),
        );
        std::fs::write(root.join("configuration"), configuration).expect("a file");
        for arguments in [&["update"][..], &["download", "weir-test"]] {
            let mut command = Command::new("apt-get");
            command.args(arguments).env("APT_CONFIG", place("configuration")).current_dir(&root);
            without_proxies(&mut command);
            let run = finish(command);
            assert_eq!(run.code, 0, "{machine} {arguments:?}: {run:?}");
        }
        assert!(only_file(&root, "deb") == files[2].1, "{machine}");
    }
    // The bodies came once each, whatever apt asked.
    let heads = scene.origin.heads();
    let whole = |name: &str| {
        let own = heads.iter().filter(|head| head.target().ends_with(&format!("/{name}")));
        own.filter(|head| !head.has("if-none-match")).count()
    };
    for (name, _) in &files {
        assert_eq!(whole(name), 1, "{name}: {heads:?}");
    }
    assert_eq!(heads.iter().filter(|head| head.target().ends_with(".deb")).count(), 1, "{heads:?}");
    scene.weir.wait_for_log(|line| line.contains("weir-test.deb") && line.ends_with("cache=hit"));
}

/// A wheel, and the page of an index that leads to it.
fn index(scratch: &Scratch) -> [(&'static str, Vec<u8>); 2] {
    const WHEEL: &str = "weir_test-1.0-py3-none-any.whl";
    let root = scratch.path().join("wheel");
    let about = root.join("weir_test-1.0.dist-info");
    std::fs::create_dir_all(&about).expect("a folder");
    let wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let metadata = "Metadata-Version: 2.1\nName: weir-test\nVersion: 1.0\n";
    for (name, text) in [("WHEEL", wheel), ("METADATA", metadata), ("RECORD", "")] {
        std::fs::write(about.join(name), text).expect("a file");
    }
    std::fs::write(root.join("weir_test.py"), pattern(0, 300_000)).expect("a file");
    let mut command = Command::new("python3");
    command
        .args(["-m", "zipfile", "-c", WHEEL, "weir_test.py", "weir_test-1.0.dist-info"])
        .current_dir(&root);
    let run = finish(command);
    assert_eq!(run.code, 0, "{run:?}");
    let page =
        format!("<!DOCTYPE html><html><body><a href=\"../../files/{WHEEL}\">{WHEEL}</a></body></html>");
    [("weir-test", page.into_bytes()), (WHEEL, std::fs::read(root.join(WHEEL)).expect("a wheel"))]
}

/// pip itself, on two machines: the second one gets the wheel from memory, and the origin only confirms the page.
#[test]
fn pip_downloads_twice() {
    if !["python3", "pip3"].into_iter().all(is_there) {
        return assert!(std::env::var_os("CI").is_none(), "scripts/test installs pip");
    }
    let scratch = Scratch::new();
    let files = index(&scratch);
    let scene = mirror(&files);
    for machine in ["one", "two"] {
        let (place, pages) = (scratch.join(machine), scene.origin.url("/simple/"));
        let mut command = Command::new("python3");
        command.args(["-m", "pip", "download", "--isolated", "--no-input", "--disable-pip-version-check"]);
        command.args(["--no-cache-dir", "--no-deps", "--index-url", &pages, "--trusted-host", "127.0.0.1"]);
        command.args(["--proxy", &scene.weir.url(), "--timeout", "10", "--dest", &place, "weir-test"]);
        command.env("PIP_CONFIG_FILE", "/dev/null");
        without_proxies(&mut command);
        let run = finish(command);
        assert_eq!(run.code, 0, "{machine}: {run:?}");
        assert!(only_file(Path::new(&place), "whl") == files[1].1, "{machine}");
    }
    // pip asks for pages anew, and for files as they are.
    let heads = scene.origin.heads();
    let count = |wanted: fn(&Head) -> bool| heads.iter().filter(|head| wanted(head)).count();
    assert_eq!(count(|head| head.target().ends_with(".whl")), 1, "{heads:?}");
    assert_eq!(count(|head| !head.has("if-none-match")), 2, "{heads:?}");
    scene.weir.wait_for_log(|line| line.contains(".whl") && line.ends_with("cache=hit"));
}
