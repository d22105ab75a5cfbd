//! Detection: what a request without an attack costs, and what one costs that is made to cost much.
//!
//! `cargo bench --bench detection`. First a table: nanoseconds per byte of inputs that are made for it, in four sizes. In a row that is
//! flat the time is linear in the bytes. Beyond the budget of a request (64 KB of a head, 256 KB of a body) nothing is looked at.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use divan::Bencher;
use weir::guard::detection::{Context, DetectRules, Detector, Findings, Mode, Scratch};
use weir::guard::inspection::{Part, Walker};

const SIZES: [usize; 4] = [1 << 10, 16 << 10, 256 << 10, 1 << 20];
/// Bytes that are looked at for one figure of the table.
const TABLE_BYTES: usize = 4 << 20;

fn main() {
    // The table, unless one bench was asked for by name.
    if std::env::args().skip(1).all(|argument| argument == "--bench") {
        table();
    }
    divan::main();
}

/// What a browser sends with a form or a script.
const FIELDS: [(&str, &str); 15] = [
    ("Host", "shop.example.com"),
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    ),
    ("Accept", "application/json, text/plain, */*"),
    ("Accept-Language", "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Content-Type", "application/json"),
    ("Origin", "https://shop.example.com"),
    ("Referer", "https://shop.example.com/checkout/address?step=2&lang=de"),
    ("Sec-Ch-Ua", "\"Chromium\";v=\"126\", \"Not.A/Brand\";v=\"24\""),
    ("Sec-Ch-Ua-Mobile", "?0"),
    ("Sec-Ch-Ua-Platform", "\"Linux\""),
    ("Sec-Fetch-Dest", "empty"),
    ("Sec-Fetch-Mode", "cors"),
    ("Sec-Fetch-Site", "same-origin"),
    (
        "Cookie",
        "session=9f8b2c6d1e4a7f305b6c8d9e0f1a2b3c; lang=de; cart=%5B%7B%22id%22%3A42%2C%22n%22%3A2%7D%5D; \
         _ga=GA1.2.1234567890.1700000000; consent=eyJhbmFseXRpY3MiOnRydWUsImFkcyI6ZmFsc2V9; theme=dark",
    ),
];

const TARGET: &str = "/api/v2/orders/183/items?expand=prices,stock&currency=EUR&q=winter+jacket";

/// An order as a shop would have it, about a kilobyte and a half of JSON.
fn json() -> String {
    let mut items = String::new();
    for number in 0..8 {
        write!(
            items,
            "{{\"id\":{},\"sku\":\"JKT-{number:04}-XL\",\"name\":\"Winter jacket, blue & warm\",\"quantity\":2,\
             \"price\":{{\"amount\":\"129.90\",\"currency\":\"EUR\"}}}},",
            1000 + number
        )
        .expect("a string takes it");
    }
    items.pop();
    format!(
        "{{\"customer\":{{\"name\":\"Anna-Lena O'Brien\",\"mail\":\"anna.obrien@example.org\",\"street\":\"Lange Straße 5\"}},\
         \"note\":\"Please don't ring; leave it at the neighbour's (No. 7), or call me before 5 pm.\",\"items\":[{items}]}}"
    )
}

/// The same customer by a form.
fn form() -> String {
    let text = "Please+don%27t+ring%3B+leave+it+at+the+neighbour%27s+%28No.+7%29%2C+or+call+me+before+5+pm.+Thanks+a+lot%21";
    let mut form =
        "name=Anna-Lena+O%27Brien&mail=anna.obrien%40example.org&street=Lange+Stra%C3%9Fe+5&zip=10115"
            .to_owned();
    for number in 0..10 {
        write!(form, "&line{number}={text}").expect("a string takes it");
    }
    form
}

/// A detector and what a loop keeps for it.
struct Looker {
    detector: Detector,
    scratch: Scratch,
}

impl Default for Looker {
    fn default() -> Looker {
        let rules = DetectRules { mode: Mode::Block, ..DetectRules::default() };
        Looker {
            detector: Detector::new(&rules).expect("a table that compiles"),
            scratch: Scratch::default(),
        }
    }
}

impl Looker {
    /// Looks at a whole request, as the engine does.
    fn request(&mut self, media_type: &str, body: &str) -> Findings {
        let Looker { detector, scratch } = self;
        let mut findings =
            detector.begin(Some(TARGET.as_bytes()), scratch).expect("a path that is not excluded");
        let fields = FIELDS.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        detector.scan_request(Some(TARGET.as_bytes()), fields, scratch, &mut findings);
        let mut walker = Walker::new([media_type.as_bytes()]);
        let mut take = |part: Part<'_>| detector.scan_part(&part, scratch, &mut findings);
        walker.push(body.as_bytes(), &mut take);
        walker.end(&mut take);
        findings
    }

    /// Looks at a text, as at the value of a field of a body.
    fn value(&mut self, text: &[u8]) -> Findings {
        let Looker { detector, scratch } = self;
        let mut findings = detector.begin(Some(b"/a"), scratch).expect("a path that is not excluded");
        detector.scan(Context::Body, b"q", text, scratch, &mut findings);
        findings
    }

    /// Looks at a text as at a body of that type.
    fn body(&mut self, media_type: &str, text: &[u8]) -> Findings {
        let Looker { detector, scratch } = self;
        let mut findings = detector.begin(Some(b"/a"), scratch).expect("a path that is not excluded");
        let mut walker = Walker::new([media_type.as_bytes()]);
        let mut take = |part: Part<'_>| detector.scan_part(&part, scratch, &mut findings);
        walker.push(text, &mut take);
        walker.end(&mut take);
        findings
    }
}

/// Pieces that are repeated until a size is reached: each is the beginning of something.
const PIECES: [(&str, &str); 24] = [
    ("prose", "The quick brown fox jumps over the lazy dog, and it's fine. "),
    ("letters", "abcdefgh"),
    ("nested escapes", "%2525252525252527"),
    ("escapes", "%27%3c%28"),
    ("backslashes", "\\u0027\\x3c"),
    ("entities", "&#x27;&lt;&amp;"),
    ("angles", "<"),
    ("quotes", "'"),
    ("quotes, two kinds", "'\" "),
    ("or", "or 1 "),
    ("union", "union select "),
    ("comments", "/* -- # "),
    ("elements", "<a on"),
    ("dots", "../"),
    ("semicolons", ";cat "),
    ("braces", "{{${#{"),
    ("brackets", "(|(&("),
    ("addresses", "http://"),
    ("php", "$_<?(["),
    ("java", "java.lang."),
    ("line ends", "\r\nset-"),
    ("nul", "\0."),
    ("base64", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo"),
    ("wide", "＜é\u{200b}"),
];

/// A piece, again and again.
fn repeated(piece: &str, size: usize) -> Vec<u8> {
    piece.bytes().cycle().take(size).collect()
}

/// Brackets in brackets, as JSON has them.
fn deep(size: usize) -> Vec<u8> {
    let mut text = b"{\"a\":".repeat(size / 6);
    text.extend(std::iter::repeat_n(b'}', size / 6));
    text
}

fn table() {
    let mut looker = Looker::default();
    println!("| ns per byte | 1 KB | 16 KB | 256 KB | 1 MB |\n| --- | ---: | ---: | ---: | ---: |");
    let mut row = |name: &str, look: &mut dyn FnMut(&mut Looker, usize) -> usize| {
        let figures: Vec<String> =
            SIZES.iter().map(|size| format!("{:.1}", per_byte(&mut looker, *size, look))).collect();
        println!("| {name} | {} |", figures.join(" | "));
    };
    for (name, piece) in PIECES {
        let texts = SIZES.map(|size| repeated(piece, size));
        row(name, &mut |looker, size| {
            let text = texts.iter().find(|text| text.len() == size).expect("one of the sizes");
            black_box(looker.value(text));
            text.len().min(weir::guard::detection::BODY_BYTES_MAX)
        });
    }
    for (name, media_type, piece) in [
        ("body, text", "text/plain", "The quick brown fox jumps over the lazy dog, and it's fine. "),
        ("body, form", "application/x-www-form-urlencoded", "a=b%27c&"),
        ("body, JSON", "application/json", "[\"a\",\"b'c\"],"),
    ] {
        row(name, &mut |looker, size| {
            black_box(looker.body(media_type, &repeated(piece, size)));
            size
        });
    }
    row("body, deep JSON", &mut |looker, size| {
        black_box(looker.body("application/json", &deep(size)));
        size
    });
}

/// The least of some batches, in nanoseconds for a byte that is looked at.
fn per_byte(looker: &mut Looker, size: usize, look: &mut dyn FnMut(&mut Looker, usize) -> usize) -> f64 {
    let times = (TABLE_BYTES / 4 / size).max(1);
    let mut batch = || {
        let began = Instant::now();
        let bytes: usize = (0..times).map(|_| look(looker, size)).sum();
        began.elapsed().as_nanos() as f64 / bytes as f64
    };
    (0..4).map(|_| batch()).fold(f64::INFINITY, f64::min)
}

/// A request without an attack, with a body of JSON.
#[divan::bench]
fn request_json(bencher: Bencher<'_, '_>) {
    let (mut looker, body) = (Looker::default(), json());
    bencher.bench_local(|| looker.request("application/json", &body));
}

/// A request without an attack, with a form.
#[divan::bench]
fn request_form(bencher: Bencher<'_, '_>) {
    let (mut looker, body) = (Looker::default(), form());
    bencher.bench_local(|| looker.request("application/x-www-form-urlencoded", &body));
}

/// The same head without a body.
#[divan::bench]
fn request_head(bencher: Bencher<'_, '_>) {
    let mut looker = Looker::default();
    bencher.bench_local(|| looker.request("application/json", ""));
}
