use super::*;

fn readings(path: &str) -> Result<(String, String), &'static str> {
    let mut buffer = b"left over".to_vec();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    read(path.as_bytes(), &mut buffer)
        .map(|readings| (text(readings.letters), text(readings.resolved)))
        .map_err(PathFault::rule)
}

#[test]
fn spellings_of_a_path_have_one_reading() {
    for (path, expected) in [
        ("", "/"),
        ("/", "/"),
        ("/api/x", "/api/x"),
        ("/api/x/", "/api/x/"),
        ("//api///x", "/api/x"),
        ("/./api/./x/.", "/api/x"),
        ("/%61pi/%78", "/api/x"),
        ("/%2561pi/x", "/api/x"),
        ("/api%2fx", "/api/x"),
        ("/api\\x", "/api/x"),
        ("/api%5Cx", "/api/x"),
        ("/.;a=b/api", "/api"),
        ("/api;v=1/x", "/api;v=1/x"),
        ("/..x/.well-known/...", "/..x/.well-known/..."),
        ("/100%/%zz", "/100%/%zz"),
        ("/caf%C3%A9", "/caf\u{e9}"),
        ("/./", "/"),
        ("//", "/"),
    ] {
        assert_eq!(readings(path), Ok((expected.into(), expected.into())), "{path}");
    }
}

#[test]
fn parents_have_two_readings() {
    for (path, letters, resolved) in [
        ("/api/../admin", "/api/../admin", "/admin"),
        ("/api/%2e%2e/admin", "/api/../admin", "/admin"),
        ("/api/%252e%252E/admin", "/api/../admin", "/admin"),
        ("/api/..%2fadmin", "/api/../admin", "/admin"),
        ("/api/..%5cadmin", "/api/../admin", "/admin"),
        ("/api\\..\\admin", "/api/../admin", "/admin"),
        ("/api/..;/admin", "/api/../admin", "/admin"),
        ("/api/..;x=y/admin", "/api/../admin", "/admin"),
        ("/api/x/..", "/api/x/..", "/api"),
        ("/api/..", "/api/..", "/"),
        ("/a/b/../../c", "/a/b/../../c", "/c"),
    ] {
        assert_eq!(readings(path), Ok((letters.into(), resolved.into())), "{path}");
    }
}

#[test]
fn some_paths_have_no_reading() {
    for (path, rule) in [
        ("/a%00", "path_nul"),
        ("/a%2500b", "path_nul"),
        ("/a%0d%0aSet-Cookie:x", "path_line_break"),
        ("/a%0A", "path_line_break"),
        ("/a%250d", "path_line_break"),
        ("/..", "path_climbs"),
        ("/../etc/passwd", "path_climbs"),
        ("/a/../..", "path_climbs"),
        ("/%2e%2e/x", "path_climbs"),
        ("/%c0%ae%c0%ae/x", "path_encoding"),
        ("/%e0%80%af", "path_encoding"),
        ("/%2525252561", "path_encoding"),
        ("/%f0%80%80%ae/x", "path_encoding"),
        ("/%f8%80%80%80%ae", "path_encoding"),
        ("/%fc%80%80%80%80%ae", "path_encoding"),
        ("/%u002e%U002E/x", "path_encoding"),
        ("/%25u002e", "path_encoding"),
    ] {
        assert_eq!(readings(path), Err(rule), "{path}");
    }
}

#[test]
fn what_is_longer_than_it_need_be_is_no_better_for_not_being_escaped() {
    for path in [&b"/\xc0\xae\xc0\xae/x"[..], b"/a\xe0\x80\xaf", b"/%61\xf0\x80\x80\xae"] {
        assert_eq!(read(path, &mut Vec::new()), Err(PathFault::Encoding), "{path:?}");
    }
    assert!(read("/caf\u{e9}/\u{10348}".as_bytes(), &mut Vec::new()).is_ok());
    assert!(read(b"/caf\xe9", &mut Vec::new()).is_ok(), "Latin 1");
}

#[test]
fn plain_paths_leave_the_buffer_alone() {
    let mut buffer = Vec::new();
    assert!(read(b"/api/x.html", &mut buffer).is_ok());
    assert_eq!(buffer.capacity(), 0);
}

#[test]
fn climbing_is_told_on_the_way() {
    for (path, prefix, climbs) in [
        ("/api/x/../y", "/api", false),
        ("/api/../api/y", "/api", true),
        ("/api/x/../../api/y", "/api", true),
        ("/api/..", "/api", true),
        ("/api/../y", "", false),
        ("/api/x", "/api", false),
    ] {
        let mut buffer = Vec::new();
        let found = read(path.as_bytes(), &mut buffer).map(|readings| readings.climbs_above(prefix.len()));
        assert_eq!(found, Ok(climbs), "{path}");
    }
}

#[test]
fn what_is_left_behind_a_prefix() {
    for (path, prefix, left) in [
        ("/api", "/api", Some("")),
        ("/api/", "/api", Some("/")),
        ("/api/x", "/api", Some("/x")),
        ("/api//x", "/api", Some("/x")),
        ("//api///x", "/api", Some("/x")),
        ("/%61p%69/x%2fy", "/api", Some("/x%2fy")),
        ("/a/b/c", "/a/b", Some("/c")),
        ("/a//b/c", "/a/b", Some("/c")),
        ("/x", "", Some("/x")),
        ("//x", "", Some("/x")),
        ("/apix", "/api", None),
        ("/api%2fx", "/api", None),
        ("/api\\x", "/api", None),
        ("/./api/x", "/api", None),
        ("/%2561pi/x", "/api", None),
        ("/a%2fb/c", "/a/b", None),
    ] {
        let found = behind_prefix(path.as_bytes(), prefix.as_bytes()).map(|at| &path[at..]);
        assert_eq!(found, left, "{path}");
    }
}

#[test]
fn parameters_are_taken_off_for_servers_that_do_so() {
    for (path, expected) in [
        ("/a/b", None),
        ("/a;x/b;y=z", Some(("/a/b", "/a/b"))),
        ("/a%3bx/b", Some(("/a/b", "/a/b"))),
        ("/;/a", Some(("/a", "/a"))),
        ("/;", Some(("/", "/"))),
        ("/a/;x/../b", Some(("/a/../b", "/b"))),
        ("/a/..;x/b;y", Some(("/a/../b", "/b"))),
    ] {
        let (mut buffer, mut other) = (Vec::new(), b"left over".to_vec());
        let letters = read(path.as_bytes(), &mut buffer).unwrap().letters;
        let found = without_parameters(letters, &mut other).map(Result::unwrap);
        let texts = found.map(|found| (found.letters, found.resolved));
        assert_eq!(
            texts,
            expected.map(|(letters, resolved)| (letters.as_bytes(), resolved.as_bytes())),
            "{path}"
        );
    }
    assert_eq!(without_parameters(b"/;x/..", &mut Vec::new()), Some(Err(PathFault::Climbs)));
}

#[test]
fn queries_stay_whole() {
    for (target, path, query) in [("/a?b?c", "/a", "?b?c"), ("/a", "/a", ""), ("?b", "", "?b"), ("", "", "")]
    {
        assert_eq!(split_query(target.as_bytes()), (path.as_bytes(), query.as_bytes()));
    }
}
