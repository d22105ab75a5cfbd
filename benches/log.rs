//! The cost of a line of the access log in each format: an ordinary transaction, and one whose texts need escapes.

use divan::{Bencher, black_box};
use weir::engine::transaction::log_record::{LogRecord, Text};
use weir::log::format::{Format, write_record};

/// All of them.
pub const FORMATS: [Format; 4] = [Format::Weir, Format::Combined, Format::Squid, Format::Json];

fn main() {
    divan::main();
}

/// An exchange as most are.
pub fn plain() -> LogRecord {
    let mut record = LogRecord::new(([192, 0, 2, 1], 50123).into());
    record.minor_version = Some(1);
    record.started_unix_us = 1_763_766_541_123_456;
    record.duration_us = 12_345;
    record.status = 200;
    record.client_bytes = 432;
    record.sent_bytes = 18_765;
    record.upstream = Some(([198, 51, 100, 7], 80).into());
    record.client_reused = true;
    record.set(Text::User, b"alice");
    record.set(Text::Method, b"GET");
    record.set(Text::Target, b"http://www.example.com/articles/2025/11/index.html?page=2&sort=newest");
    record.set(Text::Agent, b"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0");
    record.set(Text::Referrer, b"http://www.example.com/articles/");
    record
}

/// One whose texts need escapes.
pub fn hostile() -> LogRecord {
    let mut record = plain();
    record.set(Text::User, "Zoë \u{202e}".as_bytes());
    record.set(
        Text::Target,
        b"http://www.example.com/\"\\\"\\\xff\xfe\x1b[2J/articles/2025/11/index.html?page=2",
    );
    record.set(Text::Agent, b"a\r\nb \"c\" \\d\\ \xf0\x9f");
    record
}

fn write_one(bencher: Bencher<'_, '_>, format: Format, record: &LogRecord) {
    let mut line = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        line.clear();
        write_record(&mut line, format, black_box(record));
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
