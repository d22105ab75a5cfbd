//! The cost of a line of the access log in each format: an ordinary transaction, and one whose texts need escapes.

use divan::{Bencher, black_box};
use weir::engine::transaction::log_record::{LogRecord, Text};
use weir::log::format::{Format, write_entry};

/// All of them.
pub const FORMATS: [Format; 4] = [Format::Weir, Format::Combined, Format::Squid, Format::Json];

fn main() {
    divan::main();
}

/// An exchange as most are.
pub fn plain() -> LogRecord {
    let mut entry = LogRecord::new(([192, 0, 2, 1], 50123).into());
    entry.started_unix_us = 1_763_766_541_123_456;
    entry.duration_us = 12_345;
    entry.status = 200;
    entry.client_bytes = 432;
    entry.sent_bytes = 18_765;
    entry.upstream = Some(([198, 51, 100, 7], 80).into());
    entry.client_reused = true;
    entry.set(Text::User, b"alice");
    entry.set(Text::Method, b"GET");
    entry.set(Text::Target, b"http://www.example.com/articles/2025/11/index.html?page=2&sort=newest");
    entry.set(Text::Agent, b"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0");
    entry.set(Text::Referrer, b"http://www.example.com/articles/");
    entry
}

/// One whose texts need escapes.
pub fn hostile() -> LogRecord {
    let mut entry = plain();
    entry.set(Text::User, "Zoë \u{202e}".as_bytes());
    entry.set(
        Text::Target,
        b"http://www.example.com/\"\\\"\\\xff\xfe\x1b[2J/articles/2025/11/index.html?page=2",
    );
    entry.set(Text::Agent, b"a\r\nb \"c\" \\d\\ \xf0\x9f");
    entry
}

fn write_one(bencher: Bencher<'_, '_>, format: Format, entry: &LogRecord) {
    let mut line = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        line.clear();
        write_entry(&mut line, format, black_box(entry));
        black_box(line.len())
    });
}

#[divan::bench(args = FORMATS)]
fn plain_entry(bencher: Bencher<'_, '_>, format: Format) {
    write_one(bencher, format, &plain());
}

#[divan::bench(args = FORMATS)]
fn hostile_entry(bencher: Bencher<'_, '_>, format: Format) {
    write_one(bencher, format, &hostile());
}
