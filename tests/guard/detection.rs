//! Detection in heads, against the running daemon: refusals, bans, events, lines that silence.

use super::Guarded;

const CLIENT: &str = "203.0.113.7";

/// `' or 1=1--`
const ATTACK: &str = "/a?q=%27%20or%201%3D1--";

#[test]
fn guard_11_an_attack_in_a_head_is_refused() {
    let guarded = Guarded::start("detect block\n");
    assert_eq!(guarded.get(CLIENT, "/a?q=a+plain+question").0, 200);
    let (status, head) = guarded.get(CLIENT, ATTACK);
    assert_eq!(status, 400, "{head}");
    for fields in [
        "Cookie: a=b; c=<script>alert(1)</script>\r\n",
        "X-Search: 1 union select null,null--\r\n",
        "User-Agent: sqlmap/1.7\r\n",
        "Referer: http://a.example/?q=%3Csvg%20onload%3Dalert(1)%3E\r\n",
    ] {
        assert_eq!(guarded.ask(CLIENT, "GET", "/a", fields).0, 400, "{fields}");
    }
    assert_eq!(guarded.get(CLIENT, "/a/%2e%2e/%2e%2e/etc/passwd").0, 400);
    // Repeated names are all looked at, and so are names.
    assert_eq!(guarded.get(CLIENT, "/a?q=1&q=%3Cscript%3Ealert(1)%3C/script%3E&q=2").0, 400);
    assert_eq!(guarded.get(CLIENT, "/a?user[%24ne]=1").0, 400);
}

#[test]
fn guard_11_observe_refuses_nothing() {
    let guarded = Guarded::start("detect observe\n");
    assert_eq!(guarded.get(CLIENT, ATTACK).0, 200);
    let passive = Guarded::start("detect block\npassive\n");
    assert_eq!(passive.get(CLIENT, ATTACK).0, 200);
}

#[test]
fn guard_1_suspicious_requests_end_in_a_ban() {
    let guarded = Guarded::start("detect block\nban-after detect 3 in 1h for 1h\n");
    let statuses = [(); 4].map(|()| guarded.get(CLIENT, ATTACK).0);
    assert_eq!(statuses, [400, 400, 403, 403]);
    assert_eq!(guarded.get(CLIENT, "/a").0, 403);
    assert_eq!(guarded.get("203.0.113.8", "/a").0, 200);
}

#[test]
fn guard_1_a_category_has_a_threshold_of_its_own() {
    let lines = "detect block\nban-after detect sqli 2 in 1h for 1d\nban-after detect 5 in 1h for 1h\n";
    let guarded = Guarded::start(lines);
    let script = "/a?q=%3Cscript%3Ealert(1)%3C/script%3E";
    // Three of another category, and one of this: neither line has enough.
    let statuses = [script, script, ATTACK].map(|target| guarded.get(CLIENT, target).0);
    assert_eq!(statuses, [400, 400, 400]);
    assert_eq!(guarded.get(CLIENT, ATTACK).0, 403);
    // The sum over all categories counts as before.
    let other = "203.0.113.8";
    let statuses = [(); 5].map(|()| guarded.get(other, script).0);
    assert_eq!(statuses, [400, 400, 400, 400, 403]);
}

#[test]
fn guard_1_excluded_paths_are_not_looked_at() {
    let guarded = Guarded::start("detect block\nexclude /manual\n");
    assert_eq!(guarded.get(CLIENT, "/manual/a?q=%27%20or%201%3D1--").0, 200);
    assert_eq!(guarded.get(CLIENT, "/%6danual/a?q=%27%20or%201%3D1--").0, 200);
    assert_eq!(guarded.get(CLIENT, "/manuals?q=%27%20or%201%3D1--").0, 400);
    let defaults = Guarded::start("detect block\n");
    assert_eq!(defaults.get(CLIENT, "/docs/a?q=%27%20or%201%3D1--").0, 200);
    // Servers in Java read these as /a and /x.
    for path in ["/docs/..;/a", "/docs/a/..;/../x", "/docs/%2e%2e%3bb/a"] {
        assert_eq!(defaults.get(CLIENT, &format!("{path}?q=%27%20or%201%3D1--")).0, 400, "{path}");
    }
    // Servers that match prefixes before they resolve dot segments read these as paths below /login.
    for path in ["/login/../docs/", "/login/..%2fdocs/", "/login/a/%2e%2e/..%2fstatic"] {
        assert_eq!(defaults.get(CLIENT, &format!("{path}?q=%27%20or%201%3D1--")).0, 400, "{path}");
    }
}

#[test]
fn guard_11_a_false_positive_is_silenced_by_a_line() {
    let lines = "detect block\ndetect allow sqli path /search param q\ndetect off xss path /paste\n";
    let guarded = Guarded::start(lines);
    assert_eq!(guarded.get(CLIENT, "/search?q=%27%20or%201%3D1--").0, 200);
    assert_eq!(guarded.get(CLIENT, "/search?%71=%27%20or%201%3D1--").0, 200, "the name may be escaped");
    assert_eq!(guarded.get(CLIENT, "/search?r=%27%20or%201%3D1--").0, 400);
    assert_eq!(guarded.get(CLIENT, "/other?q=%27%20or%201%3D1--").0, 400);
    assert_eq!(guarded.get(CLIENT, "/paste?q=%3Cscript%3Ealert(1)%3C/script%3E").0, 200);
}

#[test]
fn ours_11_patterns_of_the_file_are_looked_for_everywhere() {
    let guarded = Guarded::start("detect block\ndetect pattern ours secret-\\d{2,3}\n");
    assert_eq!(guarded.get(CLIENT, "/a?q=SECRET-123").0, 400);
    assert_eq!(guarded.get(CLIENT, "/a?q=secret-1").0, 200);
}

#[test]
fn fault_13_8_padding_does_not_end_the_scan() {
    let guarded = Guarded::start("detect block\n");
    let padding: String = (0..600).map(|at| format!("a{at}=1&")).collect();
    assert_eq!(guarded.get(CLIENT, &format!("/a?{padding}q=%27%20or%201%3D1--")).0, 400);
    // Digits beyond any number are a value as others.
    assert_eq!(guarded.get(CLIENT, &format!("/a?q={}", "7".repeat(5000))).0, 200);
}
