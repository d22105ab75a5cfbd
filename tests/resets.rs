//! Origins whose connections break: what has arrived is delivered, and nothing that was cut looks complete. Through the public seam of
//! the engine, and against the daemon.

mod common;
mod shell;

use common::{Origin, Raw, Weir, eventually};
use shell::{Shell, status, text};
use std::sync::Arc;
use std::time::Duration;
use weir::cache::store::{Limits, Store};
use weir::engine::transaction::log_record::Text;
use weir::engine::{CacheSettings, Event, PeerId, Settings, SocketError};

const HEAD: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n";

/// A client in the middle of an upload, and the origin.
fn uploading(shell: &mut Shell) -> (PeerId, PeerId) {
    let head = "POST http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50\r\n\r\n";
    let client = shell.client_with(head);
    let (origin, _) = shell.establish(0);
    shell.receive(client, "some");
    (client, origin)
}

/// Rule 23: the system tells of a reset once. If the upload has met it, a read finds the end of the stream, which is not the end of
/// the response. An origin that had ended its side before has sent all of it.
#[test]
fn rule_23_a_reset_that_an_upload_has_met_is_no_end() {
    for (error, is_whole) in [(SocketError::Reset, false), (SocketError::Closed, true)] {
        for head_first in [true, false] {
            let mut shell = Shell::new();
            let (client, origin) = uploading(&mut shell);
            let response = format!("{HEAD}\r\nwords");
            if head_first {
                shell.receive(origin, &response);
            }
            shell.event(origin, Event::SendFailed(error));
            if !head_first {
                shell.receive(origin, &response);
            }
            shell.end(origin);
            let answer = shell.send(client);
            assert!(answer.contains("\r\nwords\r\n"), "{error:?} {head_first}: {answer}");
            assert_eq!(answer.ends_with("0\r\n\r\n"), is_whole, "{error:?} {head_first}: {answer}");
            assert!(shell.is_ended(client));
            let reason = text(shell.record(), Text::Reason);
            assert_eq!(reason == "http_response_incomplete", !is_whole, "{error:?} {head_first}: {reason}");
        }
    }
}

/// As above, through sockets: either the upload or a read meets the reset.
#[test]
fn rule_23_a_response_that_is_cut_during_an_upload_has_no_last_chunk() {
    for splicing in [&[][..], &["--no-splice"]] {
        let weir = Weir::start(splicing);
        let origin = Origin::serve_owned(|mut conn| {
            conn.read_until(b"x")?;
            conn.send(format!("{HEAD}\r\n{}", "y".repeat(5000)))?;
            // With unread bytes a close is a reset.
            conn.reset();
            Ok(())
        });
        for round in 0..20 {
            let mut client = weir.connect();
            client.send(
                origin.fill("POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nContent-Length: 50000000\r\n\r\n"),
            );
            let mut sent = Ok(());
            for _ in 0..200 {
                sent = sent.and_then(|()| client.wire().send([b'x'; 16_384]));
            }
            match client.try_read_response("POST") {
                Err(_) => {}
                // The reset may have overtaken the head.
                Ok(answer) => assert_eq!(answer.status(), 502, "round {round}: {answer:?}"),
            }
        }
    }
}

/// What a client gets that reads slowly, while the connection of its origin breaks behind the response.
#[track_caller]
fn broken_behind_a_slow_client(shell: &mut Shell, framing: &str) -> String {
    let client = shell.client_with("GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    let (origin, _) = shell.establish(0);
    let head = format!("{HEAD}Cache-Control: max-age=60\r\n{framing}\r\n");
    let response = [head.as_bytes(), &[b'y'; 2_000_000]].concat();
    let mut taken = shell.offer(origin, &response);
    assert!(taken < response.len() && !shell.engine.wants_read(origin), "{taken} bytes were taken");
    // As the shell does, which then takes the error from the system.
    assert!(shell.engine.reads_on(origin), "the rest is not read");
    shell.event(origin, Event::SendFailed(SocketError::Reset));
    let mut answer = String::new();
    while taken < response.len() {
        answer += &shell.send(client);
        let more = shell.offer(origin, &response[taken..]);
        assert!(more > 0, "{taken} bytes of {}", response.len());
        taken += more;
    }
    answer += &shell.send(client);
    if framing.is_empty() {
        shell.end(origin);
    }
    answer + &shell.send(client)
}

#[track_caller]
fn expect_delivered(settings: &Settings) {
    let length = "Content-Length: 2000000\r\n";
    for (framing, is_whole) in [(length, true), ("", false)] {
        let mut shell = Shell::with(settings.clone(), None, "");
        let answer = broken_behind_a_slow_client(&mut shell, framing);
        assert_eq!((status(&answer), answer.matches('y').count()), (200, 2_000_000), "{framing}");
        assert_eq!(text(shell.record(), Text::Reason) != "http_response_incomplete", is_whole, "{framing}");
        assert!(is_whole || !answer.ends_with("0\r\n\r\n"));
    }
}

/// An origin may reset its connection as soon as it has sent its response. What weir can still read is delivered, as fast as the
/// client reads.
#[test]
fn rule_23_what_arrived_before_a_reset_is_delivered() {
    expect_delivered(&Settings::default());
}

/// The same where the cache receives it.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn rule_23_what_arrived_before_a_reset_is_delivered_through_the_cache() {
    let store = Arc::new(Store::new(Limits::with_budget(1 << 20, [1, 2])));
    expect_delivered(&Settings { cache: Some(CacheSettings::new(store)), ..Settings::default() });
}

/// Rule 23: a client that takes the close for the end gets a reset, but behind what has arrived, although it reads late.
#[test]
fn rule_23_a_reset_for_an_old_client_destroys_nothing() {
    for reset in [true, false] {
        let origin = Origin::serve_owned(move |mut conn| {
            conn.request()?;
            match reset {
                true => {
                    conn.send(format!(
                        "HTTP/1.1 200 OK\r\nCache-Control: s-maxage=60\r\n\r\n{}",
                        "x".repeat(400_000)
                    ))?;
                    std::thread::sleep(Duration::from_millis(200));
                    conn.reset();
                }
                // A fault of the framing behind the payload.
                false => {
                    let head = "HTTP/1.1 200 OK\r\nCache-Control: s-maxage=60\r\nTransfer-Encoding: chunked\r\n\r\n61a80\r\n";
                    conn.send(format!("{head}{}\r\nzz\r\n", "x".repeat(400_000)))?;
                }
            }
            Ok(())
        });
        for options in [&[][..], &["--no-splice"], &["--cache"]] {
            if options == ["--cache"] && cfg!(not(feature = "cache")) {
                continue;
            }
            let weir = Weir::start(options);
            let mut client = Raw::connect_with_window(weir.address(), 4096);
            client.send(origin.fill("GET http://{o}/ HTTP/1.0\r\nHost: {o}\r\n\r\n"));
            eventually("weir has ended it", || (weir.statistics().get("exchanges") == 0).then_some(()));
            std::thread::sleep(Duration::from_millis(200));
            let received = client.read_to_end();
            // The head ends in a line end, and the body has none.
            let payload = received.rsplit(|byte| *byte == b'\n').next().map_or(0, <[u8]>::len);
            assert_eq!(payload, 400_000, "{reset} {options:?}");
            weir.wait_for_log(|line| line.contains(" failed 200 "));
        }
    }
}

/// The log has the word of the fault that broke a body, whether or not it was on its way into the cache, and its bound is counted.
#[test]
fn a_fault_in_a_body_has_its_word_in_the_log() {
    let long = "x".repeat(5000);
    for cache in [&[][..], &["--cache"]] {
        if !cache.is_empty() && cfg!(not(feature = "cache")) {
            continue;
        }
        let weir = Weir::start(cache);
        for (body, word) in [
            (format!("5;{long}\r\nwords\r\n0\r\n\r\n"), "chunk_extension_too_long"),
            (format!("5\r\nwords\r\n0\r\nX: {long}{long}\r\n\r\n"), "trailer_too_large"),
            ("5\r\nwords\r\nnone\r\n".to_owned(), "chunk_size"),
            ("5\r\nwords\r\n".to_owned(), "http_response_incomplete"),
        ] {
            let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n";
            for apart in [false, true] {
                let pieces =
                    if apart { vec![head.to_owned(), body.clone()] } else { vec![format!("{head}{body}")] };
                let origin = Origin::serve_owned(move |mut conn| {
                    conn.head()?;
                    pieces.iter().try_for_each(|piece| conn.send(piece))?;
                    conn.half_close()
                });
                let mut client = weir.connect();
                client.send(origin.get("/"));
                assert!(client.try_read_response("GET").is_err(), "{word}");
                let port = format!(":{}/", origin.port());
                let line = weir.wait_for_log(|line| line.contains(&port));
                assert!(line.contains(&format!(" reason={word} ")), "{line}");
            }
        }
        let told = weir.statistics();
        assert_eq!((told.get("limit_chunk_extensions"), told.get("limit_trailers")), (2, 2));
    }
}
