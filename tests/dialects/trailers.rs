//! Trailer fields that belong to a connection.

use super::common::{Origin, Response, Weir};

const TRAILERS: &str =
    "5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Hop: 2\r\nx-hop: 3\r\nX-Removed: 4\r\nX-Last: 5\r\n\r\n";

/// Fields of the head with which the trailers above are sent, and which of them go on.
const CASES: [(&str, &str); 6] = [
    ("", "1235"),
    ("Connection: X-Hop\r\n", "15"),
    ("Connection: keep-alive, x-hOP\r\nConnection: X-Last, X-None\r\n", "1"),
    ("Connection: X-Su, X-Sums, close-to\r\n", "1235"),
    ("Connection: X-Hop, Content-Length, Transfer-Encoding, X-Sum\r\n", "5"),
    ("Trailer: X-Hop\r\nConnection: X-Hop, TE\r\nTE: trailers\r\n", "15"),
];

fn values(response: &Response) -> String {
    response.body.trailers.iter().map(|(_, value)| value.as_str()).collect()
}

/// Rules 19 and 25: in requests. Fields that the configuration removes are removed from trailers, too.
#[test]
fn kind_15_connection_names_trailers_of_requests() {
    for options in crate::common::built([&[][..], &["--cache"], &["--workers", "2"]]) {
        let options = [options, &["--remove-header", "X-Removed"]].concat();
        let weir = Weir::start(&options);
        let origin = Origin::serve(|conn| {
            while let Some(request) = conn.request()? {
                let seen: String = request.body.trailers.iter().map(|(_, value)| value.as_str()).collect();
                conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{seen}", seen.len()))?;
            }
            Ok(())
        });
        // Two requests on one connection: the names in one do not apply to the next.
        let mut client = weir.connect();
        for (fields, expected) in CASES.iter().chain(&CASES) {
            for size in [4096, 1] {
                client.send_slowly(
                    origin.fill(format!(
                        "POST http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n{fields}Transfer-Encoding: chunked\r\n\r\n{TRAILERS}"
                    )),
                    size,
                );
                assert_eq!(client.read_response().text(), *expected, "{fields:?}");
            }
        }
    }
}

/// Rules 19 and 25: in responses, on their way into the cache, too.
#[test]
fn kind_15_connection_names_trailers_of_responses() {
    for options in crate::common::built([&[][..], &["--cache"], &["--cache", "--workers", "2"]]) {
        let options = [options, &["--remove-response-header", "X-Removed"]].concat();
        let weir = Weir::start(&options);
        let origin = Origin::serve(move |conn| {
            while let Some(request) = conn.request()? {
                let fields = CASES[request.head.target()[1..].parse::<usize>().unwrap_or(0)].0;
                conn.send(format!(
                    "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{fields}Transfer-Encoding: chunked\r\n\r\n{TRAILERS}"
                ))?;
            }
            Ok(())
        });
        let mut client = weir.connect();
        for (case, (fields, expected)) in CASES.iter().enumerate() {
            let answer = client.ask(origin.get(&format!("/{case}")));
            assert_eq!(
                (answer.text().as_str(), values(&answer).as_str()),
                ("hello", *expected),
                "{fields:?}"
            );
            assert!(!answer.head.has("x-hop"), "{answer:?}");
            // Out of the cache it has none.
            let again = client.ask(origin.get(&format!("/{case}")));
            let kept = if options.contains(&"--cache") { "" } else { *expected };
            assert_eq!((again.text().as_str(), values(&again).as_str()), ("hello", kept), "{fields:?}");
        }
    }
}
