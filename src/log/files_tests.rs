use super::*;
use crate::log::scratch::Scratch;

fn read(scratch: &Scratch, name: &str) -> String {
    fs::read_to_string(scratch.path().join(name)).unwrap_or_else(|error| format!("({:?})", error.kind()))
}

fn numbered(lines: std::ops::Range<u32>) -> String {
    lines.map(|line| format!("line {line:04}\n")).collect()
}

#[test]
fn rotation_neither_loses_nor_splits_a_line() {
    // Every line has 10 bytes; limits that are and are not multiples of it, batches that are larger and smaller.
    for bytes_max in [1, 10, 15, 30, 39, 100] {
        for batch in [1, 3, 7, 40] {
            let scratch = Scratch::new();
            let mut log = LogFile::open(scratch.path(), bytes_max, 900).unwrap();
            for first in (0..120).step_by(batch) {
                log.write_lines(numbered(first..(first + batch as u32).min(120)).as_bytes()).unwrap();
            }
            let mut names: Vec<u32> = (1..900).filter(|number| log.path(*number).exists()).collect();
            names.reverse();
            let mut whole = String::new();
            for number in names.into_iter().chain([0]) {
                let content = fs::read_to_string(log.path(number)).unwrap();
                assert!(
                    content.len() as u64 <= bytes_max.max(10) && content.ends_with('\n'),
                    "{bytes_max} {batch}"
                );
                // No file begins before its predecessor is full.
                assert!(number == 0 || content.len() as u64 + 10 > bytes_max, "{bytes_max} {batch}");
                whole.push_str(&content);
            }
            assert_eq!(whole, numbered(0..120), "{bytes_max} {batch}");
        }
    }
}

#[test]
fn as_many_are_kept_as_asked() {
    for keep in [0, 1, 3] {
        let scratch = Scratch::new();
        let mut log = LogFile::open(scratch.path(), 10, 6).unwrap();
        log.write_lines(numbered(0..9).as_bytes()).unwrap();
        assert!(log.path(6).exists() && !log.path(7).exists());
        // A smaller number to keep also removes files of the earlier setting.
        let mut log = LogFile::open(scratch.path(), 10, keep).unwrap();
        log.write_lines(numbered(9..10).as_bytes()).unwrap();
        let names: Vec<bool> = (0..8).map(|number| log.path(number).exists()).collect();
        let expected: Vec<bool> = (0..8).map(|number| number <= keep).collect();
        assert_eq!(names, expected);
        for number in 0..=keep {
            let newest = 9 - number;
            assert_eq!(fs::read_to_string(log.path(number)).unwrap(), numbered(newest..newest + 1));
        }
    }
}

#[test]
fn a_limit_of_zero_never_rotates() {
    let scratch = Scratch::new();
    let mut log = LogFile::open(scratch.path(), 0, 5).unwrap();
    log.write_lines(numbered(0..100).as_bytes()).unwrap();
    assert_eq!(read(&scratch, "access.log"), numbered(0..100));
}

#[test]
fn a_removed_file_or_directory_is_made_again() {
    let scratch = Scratch::new();
    let directory = scratch.path().join("a/b");
    let mut log = LogFile::open(&directory, 1000, 1).unwrap();
    log.write_lines(b"one\n").unwrap();
    fs::remove_file(log.path(0)).unwrap();
    log.write_lines(b"two\n").unwrap();
    assert_eq!(fs::read_to_string(log.path(0)).unwrap(), "two\n");
    fs::remove_dir_all(scratch.path().join("a")).unwrap();
    log.write_lines(b"three\n").unwrap();
    assert_eq!(fs::read_to_string(log.path(0)).unwrap(), "three\n");
}

#[test]
fn a_moved_file_is_written_until_reopened() {
    let scratch = Scratch::new();
    let mut log = LogFile::open(scratch.path(), 0, 1).unwrap();
    log.write_lines(b"one\n").unwrap();
    fs::rename(log.path(0), scratch.path().join("moved")).unwrap();
    log.write_lines(b"two\n").unwrap();
    log.reopen().unwrap();
    log.write_lines(b"three\n").unwrap();
    assert_eq!(
        (read(&scratch, "moved").as_str(), read(&scratch, "access.log").as_str()),
        ("one\ntwo\n", "three\n")
    );
    // A truncated file continues at its new end.
    fs::write(log.path(0), b"").unwrap();
    log.write_lines(b"four\n").unwrap();
    assert_eq!(read(&scratch, "access.log"), "four\n");
}

#[test]
fn half_a_line_left_by_a_crash_is_ended() {
    let scratch = Scratch::new();
    fs::write(scratch.path().join("access.log"), b"whole\nhal").unwrap();
    let mut log = LogFile::open(scratch.path(), 0, 1).unwrap();
    log.write_lines(b"next\n").unwrap();
    assert_eq!(read(&scratch, "access.log"), "whole\nhal\nnext\n");
}

#[test]
fn a_rotation_that_fails_costs_no_line() {
    let scratch = Scratch::new();
    let mut log = LogFile::open(scratch.path(), 20, 1).unwrap();
    log.write_lines(numbered(0..2).as_bytes()).unwrap();
    // A directory that is not empty stands where the old file would go.
    fs::create_dir_all(scratch.path().join("access.log.1/x")).unwrap();
    log.write_lines(numbered(2..5).as_bytes()).unwrap();
    assert_eq!(read(&scratch, "access.log"), numbered(0..5));
    fs::remove_dir_all(scratch.path().join("access.log.1")).unwrap();
    log.reopen().unwrap();
    log.write_lines(numbered(5..6).as_bytes()).unwrap();
    assert_eq!(
        (read(&scratch, "access.log.1"), read(&scratch, "access.log")),
        (numbered(0..5), numbered(5..6))
    );
}

#[test]
fn bytes_are_taken_back() {
    let scratch = Scratch::new();
    let path = scratch.path().join("f");
    fs::write(&path, b"whole\nhal").unwrap();
    let file = OpenOptions::new().append(true).open(&path).unwrap();
    for (bytes, expected) in [(0, "whole\nhal"), (3, "whole\n"), (99, "")] {
        remove_tail(&file, bytes).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    }
}

#[test]
fn a_full_disk_is_an_error_with_nothing_written() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let scratch = Scratch::new();
    std::os::unix::fs::symlink("/dev/full", scratch.path().join(FILE_NAME)).unwrap();
    let mut log = LogFile::open(scratch.path(), 1000, 1).unwrap();
    let (written, error) = log.write_lines(b"one\ntwo\n").unwrap_err();
    assert_eq!((written, error.kind()), (0, ErrorKind::StorageFull));
}

#[test]
fn cuts_are_between_lines() {
    for (limit, expected) in [(0, 0), (1, 0), (2, 2), (4, 2), (5, 5), (6, 6), (99, 6)] {
        assert_eq!(whole_lines_within(b"a\nbc\n\n", limit), expected, "{limit}");
    }
    assert_eq!((first_line(b"a\nb\n"), first_line(b"ab")), (2, 2));
}

#[test]
fn two_processes_share_a_directory() {
    let scratch = Scratch::new();
    let mut logs: Vec<_> = (0..2).map(|_| LogFile::open(scratch.path(), 50, 900).unwrap()).collect();
    for number in 0..300 {
        logs[number as usize / 7 % 2].write_lines(numbered(number..number + 1).as_bytes()).unwrap();
    }
    let mut lines: Vec<String> = (0..900)
        .filter_map(|number| fs::read_to_string(logs[0].path(number)).ok())
        .flat_map(|content| content.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    lines.sort();
    assert_eq!(lines.concat(), numbered(0..300).replace('\n', ""));
}

#[test]
fn logs_that_rotate_at_the_same_time_lose_no_line() {
    let scratch = Scratch::new();
    std::thread::scope(|scope| {
        for first in [0, 2000, 4000] {
            let mut log = LogFile::open(scratch.path(), 50, 5000).unwrap();
            scope.spawn(move || {
                for number in first..first + 1000 {
                    log.write_lines(numbered(number..number + 1).as_bytes()).unwrap();
                }
            });
        }
    });
    let mut lines: Vec<String> = fs::read_dir(scratch.path())
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .flat_map(|content| content.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    lines.sort();
    let written = [0, 2000, 4000].map(|first| numbered(first..first + 1000)).concat();
    assert_eq!(lines.join("\n"), written.trim_end());
}

#[test]
fn a_failed_rotation_leaves_the_file_to_other_logs() {
    let scratch = Scratch::new();
    let mut logs: Vec<_> = (0..2).map(|_| LogFile::open(scratch.path(), 20, 1).unwrap()).collect();
    fs::create_dir_all(scratch.path().join("access.log.1/x")).unwrap();
    logs[0].write_lines(numbered(0..3).as_bytes()).unwrap();
    fs::remove_dir_all(scratch.path().join("access.log.1")).unwrap();
    logs[1].write_lines(numbered(3..4).as_bytes()).unwrap();
    assert_eq!(
        (read(&scratch, "access.log.1"), read(&scratch, "access.log")),
        (numbered(0..3), numbered(3..4))
    );
}
