//! Real clients, where they differ from ours. A client that is not installed is a failure in continuous integration
//! (`CI` is set), and a note elsewhere.

mod common;

use common::weir::{Run, finish};
use common::{Hash, Origin, Scratch, Weir};
use std::process::Command;

/// A command for a program, if it is there.
#[track_caller]
fn client(program: &str) -> Option<Command> {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().expect("sh");
    if !found.status.success() {
        assert!(std::env::var_os("CI").is_none(), "{program} is not installed; scripts/test installs it");
        eprintln!("SKIPPED: {program} is not installed; scripts/test installs it");
        return None;
    }
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    Some(command)
}

fn curl(weir: &Weir, arguments: &[&str]) -> Option<Run> {
    let mut command = client("curl")?;
    command.args(["-sS", "-q", "--max-time", "20", "--noproxy", "", "-x", &weir.url()]).args(arguments);
    Some(finish(command))
}

/// curl forwards, with headers shown, by environment variable and by option.
#[test]
fn curl_forwards() {
    let (weir, origin) = (Weir::start(&[]), Origin::echo());
    let Some(run) = curl(&weir, &["-i", &origin.url("/a?b=c")]) else { return };
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.out.starts_with("HTTP/1.1 200 OK") && run.out.contains("GET /a?b=c HTTP/1.1"), "{run:?}");
    let Some(mut command) = client("curl") else { return };
    command.args(["-sS", &origin.url("/env")]).env("http_proxy", weir.url()).env("no_proxy", "");
    assert!(finish(command).out.contains("GET /env HTTP/1.1"));
    assert!(origin.heads().iter().all(|head| !head.has("proxy-connection")));
}

/// curl uploads a file of more than a megabyte, for which it expects a 100.
#[test]
fn curl_uploads() {
    let (weir, origin) = (
        Weir::start(&[]),
        Origin::serve(|conn| {
            while let Some(head) = conn.read_head_or_end()? {
                if head.has("expect") {
                    conn.send("HTTP/1.1 100 Continue\r\n\r\n")?;
                }
                let mut hash = Hash::new();
                conn.read_body_into(&head, false, &mut |part| hash.update(part))?;
                let text = format!("{hash} expect={}", head.has("expect"));
                conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()))?;
            }
            Ok(())
        }),
    );
    let scratch = Scratch::new();
    let file = scratch.file("upload", common::pattern(0, 3_000_000));
    let wanted = Hash::of_pattern(3_000_000).to_string();
    let at = format!("@{file}");
    for (arguments, expects) in [
        (&["-T", file.as_str(), "-H", "Expect: 100-continue"][..], true),
        (&["-T", &file, "-H", "Expect:"], false),
        (&["--data-binary", &at, "-H", "Transfer-Encoding: chunked", "-H", "Expect:"], false),
    ] {
        let mut all = arguments.to_vec();
        let url = origin.url("/upload");
        all.push(&url);
        let Some(run) = curl(&weir, &all) else { return };
        assert_eq!(run.out.trim(), format!("{wanted} expect={expects}"), "{arguments:?}: {run:?}");
    }
}

/// curl downloads in bulk, exactly.
#[test]
fn curl_downloads() {
    let (weir, origin) = (Weir::start(&[]), Origin::generator());
    let scratch = Scratch::new();
    for form in ["length", "chunked", "close"] {
        let file = scratch.join(form);
        let Some(run) = curl(&weir, &["-o", &file, &origin.url(&format!("/{form}/5000000"))]) else { return };
        assert_eq!(run.code, 0, "{run:?}");
        let mut hash = Hash::new();
        hash.update(&std::fs::read(&file).expect("what curl wrote"));
        assert_eq!(hash, Hash::of_pattern(5_000_000), "{form}");
    }
}

/// curl through CONNECT, with `--proxytunnel`.
#[test]
fn curl_tunnels() {
    let (weir, origin) = (Weir::start(&[]), Origin::echo());
    let Some(run) = curl(&weir, &["--proxytunnel", &origin.url("/inside")]) else { return };
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.out.starts_with("GET /inside HTTP/1.1") && !run.out.contains("Via"), "{run:?}");
    weir.wait_for_log(|line| line.contains("CONNECT"));
}

/// curl with proxy authentication, right, wrong and missing, forwarding and tunnelling.
#[test]
fn curl_authenticates() {
    let scratch = Scratch::new();
    let users = scratch.file("users.txt", "anna:p@ss:word\n");
    let (weir, origin) = (Weir::start(&["--auth-file", &users]), Origin::echo());
    let url = origin.url("/");
    for tunnel in [&[][..], &["--proxytunnel"]] {
        let status = |credentials: &[&str]| {
            let arguments =
                [tunnel, credentials, &["-o", "/dev/null", "-w", "%{http_code} %{http_connect}", &url]];
            curl(&weir, &arguments.concat()).map(|run| run.out)
        };
        let Some(right) = status(&["-U", "anna:p@ss:word"]) else { return };
        assert!(right.starts_with("200"), "{right}");
        for wrong in [&[][..], &["-U", "anna:wrong"], &["-U", "anna:p@ss:word", "--proxy-digest"]] {
            assert!(status(wrong).is_some_and(|text| text.contains("407")), "{wrong:?}");
        }
        let any = status(&["-U", "anna:p@ss:word", "--proxy-anyauth"]);
        assert!(any.as_ref().is_some_and(|text| text.starts_with("200")), "{any:?}");
    }
    assert!(origin.heads().iter().all(|head| !head.has("proxy-authorization")));
}

/// curl as an HTTP/1.0 client.
#[test]
fn curl_speaks_1_0() {
    let (weir, origin) = (Weir::start(&[]), Origin::generator());
    let Some(run) = curl(&weir, &["-0", "-i", &origin.url("/chunked/1000")]) else { return };
    assert_eq!(run.code, 0, "{run:?}");
    assert!(!run.out.to_ascii_lowercase().contains("transfer-encoding"), "{run:?}");
}

/// curl keeps its connection for a second URL, also to another origin, and after a refusal.
#[test]
fn curl_keeps_connections() {
    let weir = Weir::start(&["--block", "blocked.test"]);
    let (one, two) = (Origin::ok(), Origin::ok());
    let format = "%{http_code}:%{num_connects} ";
    let urls =
        [one.url("/1"), one.url("/2"), two.url("/3"), "http://blocked.test/".to_owned(), one.url("/4")];
    let mut arguments = vec!["-w", format];
    for url in &urls {
        arguments.extend(["-o", "/dev/null", url]);
    }
    let Some(run) = curl(&weir, &arguments) else { return };
    assert_eq!(run.out.trim(), "200:1 200:0 200:0 403:0 200:0", "{run:?}");
    assert_eq!(one.connections(), 1);
}

/// curl sees what went wrong: each failure is an answer, never an empty reply.
#[test]
fn curl_sees_failures() {
    let weir = Weir::start(&["--block", "blocked.test"]);
    let port = common::origin::refusing_port();
    for (url, status) in [
        ("http://blocked.test/".to_owned(), "403"),
        (format!("http://127.0.0.1:{port}/"), "502"),
        ("http://127.0.0.1:25/".to_owned(), "403"),
    ] {
        let Some(run) = curl(&weir, &["-o", "/dev/null", "-w", "%{http_code}", &url]) else { return };
        assert_eq!(run.out.trim(), status, "{url}: {run:?}");
    }
}

/// Python's `http.client` and `urllib`: forwarding, tunnels, keep-alive, uploads, authentication.
#[test]
fn python_clients() {
    let scratch = Scratch::new();
    let users = scratch.file("users.txt", "anna:secret\n");
    let (weir, guarded) = (Weir::start(&[]), Weir::start(&["--auth-file", &users]));
    let origin = Origin::echo();
    let script = r#"
import http.client, sys, urllib.error, urllib.request
proxy, guarded, origin = sys.argv[1:4]
host, port = proxy.split(":")

c = http.client.HTTPConnection(host, int(port), timeout=10)
for number in range(3):
    c.request("GET", f"http://{origin}/keep-{number}")
    r = c.getresponse()
    body = r.read()
    assert r.status == 200 and body.startswith(b"GET /keep-%d HTTP/1.1" % number), body
def pieces():
    for _ in range(100):
        yield b"x" * 1000
c.request("POST", f"http://{origin}/chunked", body=pieces(), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
assert c.getresponse().read().endswith(b"x" * 100000)
c.request("HEAD", f"http://{origin}/head")
r = c.getresponse()
assert r.status == 200 and r.read() == b""
c.close()

c = http.client.HTTPConnection(host, int(port), timeout=10)
name, number = origin.split(":")
c.set_tunnel(name, int(number))
c.request("PUT", "/tunnelled", body=b"inside")
body = c.getresponse().read()
assert body.startswith(b"PUT /tunnelled HTTP/1.1") and body.endswith(b"inside") and b"Via" not in body, body
c.close()

def opener(proxy):
    return urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy}))
r = opener(f"http://{proxy}").open(f"http://{origin}/urllib", data=b"form=1", timeout=10)
assert r.status == 200 and r.read().endswith(b"form=1")
r = opener(f"http://anna:secret@{guarded}").open(f"http://{origin}/auth", timeout=10)
assert b"roxy-Authorization" not in r.read()
for wrong in (f"http://{guarded}", f"http://anna:wrong@{guarded}"):
    try:
        opener(wrong).open(f"http://{origin}/auth", timeout=10)
        raise SystemExit("no 407")
    except urllib.error.HTTPError as e:
        assert e.code == 407, e
        assert e.headers["Proxy-Authenticate"].startswith("Basic"), e.headers
print("fine")
"#;
    let Some(mut command) = client("python3") else { return };
    command.args(["-c", script]);
    command.args([weir.address().to_string(), guarded.address().to_string(), origin.address().to_string()]);
    let run = finish(command);
    assert_eq!((run.code, run.out.trim()), (0, "fine"), "{run:?}");
}

/// wrk for a second, with targets in absolute-form: no errors.
#[test]
fn wrk_has_no_errors() {
    let (weir, origin) = (Weir::start(&[]), Origin::ok());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/wrk.lua");
    let Some(mut command) = client("wrk") else { return };
    command.args([
        "-t1",
        "-c16",
        "-d1s",
        "--timeout",
        "5s",
        "-s",
        script,
        &weir.url(),
        "--",
        &origin.url("/"),
    ]);
    let run = finish(command);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.out.contains("requests in"), "{run:?}");
    for trouble in ["Socket errors", "Non-2xx"] {
        assert!(
            !run.out.contains(trouble),
            "{}\nweir: {:?}",
            run.out,
            weir.log_lines().iter().rev().take(5).collect::<Vec<_>>()
        );
    }
}

/// h2load with `--h1`, as a client that pipelines and counts: no errors.
#[test]
fn h2load_has_no_errors() {
    let (weir, origin) = (Weir::start(&[]), Origin::ok());
    let Some(mut command) = client("h2load") else { return };
    // The connection goes to the proxy, the request names the origin.
    let own = weir.address().to_string();
    command.args(["--h1", "-n", "2000", "-c", "8", "-t", "1", "-T", "10s", "-N", "10s"]);
    command.args([&format!("--connect-to={own}"), &origin.url("/")]);
    let run = finish(command);
    assert_eq!(run.code, 0, "{run:?}");
    let line = run.out.lines().find(|line| line.starts_with("requests:")).unwrap_or_default().to_owned();
    assert!(line.contains("2000 succeeded") && line.contains("0 failed"), "{}", run.said());
    assert!(run.out.contains("2000 2xx"), "{}", run.out);
}

/// A challenge without a name, so that any client can answer it.
const CHALLENGE: &str = "TlRMTVNTUAACAAAAAAAAADAAAAABggAAMTIzNDU2NzgAAAAAAAAAAAAAAAAwAAAA";

/// Rule 44: curl authenticates a connection in three steps through weir, and this client alone stays authenticated on
/// it.
#[test]
fn kind_01_curl_authenticates_with_ntlm() {
    for options in common::built([&[][..], &["--cache", "--workers", "2"]]) {
        let weir = Weir::start(options);
        let origin = Origin::serve(|conn| {
            let (mut challenged, mut known) = (false, false);
            while let Some(request) = conn.request()? {
                let given = request.head.get("authorization").unwrap_or_default();
                known |= challenged && given.starts_with("NTLM TlRMTVNTUAAD");
                challenged |= given.starts_with("NTLM TlRMTVNTUAAB");
                let offer = match (known, challenged) {
                    (true, _) => String::new(),
                    (false, true) => format!("WWW-Authenticate: NTLM {CHALLENGE}\r\n"),
                    (false, false) => "WWW-Authenticate: NTLM\r\n".to_owned(),
                };
                let (status, body) = if known {
                    ("200 OK", format!("known {}\n", conn.number))
                } else {
                    ("401 No", "no\n".to_owned())
                };
                let fields =
                    format!("{offer}Cache-Control: max-age=60\r\nContent-Length: {}\r\n", body.len());
                conn.send(format!("HTTP/1.1 {status}\r\n{fields}\r\n{body}"))?;
            }
            Ok(())
        });
        let (one, two) = (origin.url("/1"), origin.url("/2"));
        let user = ["--ntlm", "-u", "anna:secret"];
        let Some(run) = curl(&weir, &[&user[..], &[&one, &two, &one]].concat()) else { return };
        assert_eq!(run.out, "known 0\n".repeat(3), "{options:?}: {run:?}");
        let Some(run) = curl(&weir, &[&one]) else { return };
        assert_eq!(run.out, "no\n", "{options:?}: {run:?}");
        let Some(run) =
            curl(&weir, &[&["--anyauth", "-u", "anna:secret", "-d", "hello"][..], &[&one, &two]].concat())
        else {
            return;
        };
        assert_eq!(run.out.matches("known 2\n").count(), 2, "{options:?}: {run:?}");
    }
}
