use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use super::*;
use crate::log::scratch::Scratch;

/// A test that waits longer than this has failed.
const DEADLINE: Duration = Duration::from_secs(20);

fn into_directory(scratch: &Scratch, bytes_max: u64, keep: u32) -> Writer {
    Writer::spawn(&Destination::Directory { path: scratch.path().to_owned(), bytes_max, keep }).unwrap()
}

/// A writer on a socket, and its other end.
fn into_socket() -> (Writer, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(DEADLINE)).unwrap();
    let file = File::from(OwnedFd::from(ours));
    (Writer::spawn_on(Output::Stream(Stream::new(file))).unwrap(), theirs)
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The content of all files, the oldest first.
fn all_files(scratch: &Scratch) -> String {
    let old = (1..2000).rev().map(|number| scratch.path().join(format!("access.log.{number}")));
    old.chain([scratch.path().join("access.log")]).filter_map(|path| fs::read_to_string(path).ok()).collect()
}

#[test]
fn several_feeds_lose_and_split_nothing() {
    let scratch = Scratch::new();
    let writer = into_directory(&scratch, 4096, 1000);
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let mut sender = writer.sender();
            thread::spawn(move || {
                for number in 0..5000 {
                    sender.append(format!("{thread} {number:05}\n").as_bytes());
                    if number % 7 == 0 {
                        sender.flush();
                    }
                }
                // The last lines are handed over by its end.
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(writer.dropped_lines(), 0);
    assert!(writer.close());
    let all = all_files(&scratch);
    for thread in 0..4 {
        let own: Vec<&str> = all.lines().filter(|line| line.starts_with(&format!("{thread} "))).collect();
        let expected: Vec<String> = (0..5000).map(|number| format!("{thread} {number:05}")).collect();
        assert_eq!(own, expected);
    }
    assert_eq!(all.lines().count(), 20_000);
}

#[test]
fn lines_arrive_without_a_close_and_entries_as_lines() {
    let (writer, mut reader) = into_socket();
    let mut sender = writer.sender();
    sender.append_record(Format::Combined, &LogRecord::new("192.0.2.1:1".parse().unwrap()));
    sender.append(b"x\n");
    sender.flush();
    let mut seen = vec![0; 4096];
    let mut len = 0;
    while !seen[..len].ends_with(b"x\n") {
        len += reader.read(&mut seen[len..]).unwrap();
    }
    assert!(seen.starts_with(b"192.0.2.1 - - ["));
    assert!(writer.close());
}

#[test]
fn nothing_waits_for_a_stuck_output() {
    let (writer, mut reader) = into_socket();
    let mut sender = writer.sender();
    let line = [&[b'x'; 999][..], b"\n"].concat();
    let began = Instant::now();
    // More than the socket and the buffer hold.
    let all = 4 * PENDING_BYTES_MAX / line.len();
    for _ in 0..all {
        sender.append(&line);
        sender.flush();
    }
    assert!(began.elapsed() < DEADLINE);
    let dropped = writer.dropped_lines();
    assert!(dropped > 0 && (dropped as usize) < all);
    assert_eq!(dropped, sender.dropped_lines());
    // Once the other end reads, writing continues with whole lines, and the dropped lines are exactly the missing
    // ones.
    let counter = thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        all
    });
    assert!(writer.close());
    drop(sender);
    let all_read = counter.join().unwrap();
    assert!(all_read.chunks(line.len()).all(|chunk| chunk == line));
    assert_eq!(all_read.len() / line.len() + dropped as usize, all);
}

#[test]
fn a_stuck_output_does_not_hang_the_end() {
    let (writer, reader) = into_socket();
    let mut sender = writer.sender();
    sender.append(&[&vec![b'x'; 3 << 20][..], b"\n"].concat());
    sender.flush();
    let began = Instant::now();
    assert!(!writer.close());
    assert!(began.elapsed() >= CLOSE_WITHIN && began.elapsed() < CLOSE_WITHIN + DEADLINE);
    drop(reader);
}

#[test]
fn a_broken_pipe_costs_lines_only() {
    let (writer, reader) = into_socket();
    drop(reader);
    let mut sender = writer.sender();
    for expected in [2, 4, 6] {
        sender.append(b"one\n");
        sender.append(b"two\n");
        sender.flush();
        wait_until("lines are counted", || writer.dropped_lines() == expected);
    }
    assert!(writer.close());
    // Lines after the end are counted, too.
    sender.append(b"late\n");
    sender.flush();
    assert_eq!(sender.dropped_lines(), 7);
}

#[test]
fn a_full_disk_costs_lines_until_there_is_room() {
    let full = std::path::Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let scratch = Scratch::new();
    let file = scratch.path().join("access.log");
    std::os::unix::fs::symlink(full, &file).unwrap();
    let writer = into_directory(&scratch, 0, 1);
    let mut sender = writer.sender();
    sender.append(b"lost\n");
    sender.append(b"lost\n");
    sender.flush();
    wait_until("lines are counted", || writer.dropped_lines() == 2);
    fs::remove_file(&file).unwrap();
    writer.reopen();
    wait_until("the file is back", || file.exists());
    sender.append(b"kept\n");
    drop(sender);
    assert_eq!(writer.dropped_lines(), 2);
    assert!(writer.close());
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept\n");
}

#[test]
fn reopening_follows_the_name() {
    let scratch = Scratch::new();
    let (file, moved) = (scratch.path().join("access.log"), scratch.path().join("moved"));
    let writer = into_directory(&scratch, 0, 1);
    let mut sender = writer.sender();
    sender.append(b"one\n");
    sender.flush();
    wait_until("a line arrives", || fs::read(&file).is_ok_and(|content| content == b"one\n"));
    fs::rename(&file, &moved).unwrap();
    writer.reopen();
    wait_until("a new file is there", || file.exists());
    sender.append(b"two\n");
    drop(sender);
    assert!(writer.close());
    assert_eq!((fs::read(&moved).unwrap(), fs::read(&file).unwrap()), (b"one\n".to_vec(), b"two\n".to_vec()));
}

#[test]
fn a_line_that_broke_off_in_a_stream_is_ended() {
    let (ours, mut reader) = UnixStream::pair().unwrap();
    let mut stream = Stream::new(File::from(OwnedFd::from(ours)));
    stream.within_line = true;
    stream.write_lines(b"next\n").unwrap();
    stream.write_lines(b"more\n").unwrap();
    drop(stream);
    let mut all = String::new();
    reader.read_to_string(&mut all).unwrap();
    assert_eq!(all, "\nnext\nmore\n");
}

#[test]
fn a_directory_that_cannot_be_had_is_an_error_at_the_start() {
    let scratch = Scratch::new();
    fs::write(scratch.path().join("file"), b"").unwrap();
    let path = scratch.path().join("file/below");
    assert!(Writer::spawn(&Destination::Directory { path, bytes_max: 0, keep: 0 }).is_err());
    assert!(Writer::spawn(&Destination::Stdout).is_ok_and(Writer::close));
}

#[test]
fn losses_are_reported_once_and_not_too_often() {
    let mut failures = Failures::default();
    let start = Instant::now();
    for (dropped, after, expected) in [
        (0, Duration::ZERO, None),
        (3, Duration::ZERO, Some(3)),
        (3, REPORT_EVERY, None),
        (5, REPORT_EVERY, Some(2)),
        (9, REPORT_EVERY + Duration::from_secs(1), None),
        (10, 2 * REPORT_EVERY, Some(5)),
    ] {
        assert_eq!(failures.next_report(dropped, start + after), expected, "{dropped}");
    }
}

#[test]
fn buffers_are_used_again() {
    let (writer, reader) = into_socket();
    let mut sender = writer.sender();
    sender.append(b"a line\n");
    let batch = sender.batch.as_ptr();
    for _ in 0..100 {
        sender.flush();
        sender.append(b"a line\n");
    }
    assert_eq!(sender.batch.as_ptr(), batch);
    // After a burst the memory goes back.
    let (mut burst, mut line) = (sender.clone(), vec![b'x'; 1 << 20]);
    line.push(b'\n');
    burst.append(&line);
    assert!(burst.batch.capacity() <= BUFFER_BYTES_KEPT);
    assert!(burst.batch.is_empty());
    drop((burst, sender, writer, reader));
}
