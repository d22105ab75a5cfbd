//! The scene of an attack: the daemon, a well-behaved client whose requests are timed without and with the attack, and
//! one row of a table for what it came to.

use crate::common::{DEADLINE, Origin, Raw, Scratch, Statistics, Weir};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Scope;
use std::time::{Duration, Instant};

/// Whether `scripts/attacks` asks for the long form.
pub fn is_long() -> bool {
    std::env::var_os("ATTACKS_LONG").is_some()
}

/// The size for the whole process (`scripts/attacks --memory`), with which cache, guard and detection are on.
pub fn memory() -> Option<String> {
    std::env::var("ATTACKS_MEMORY").ok()
}

/// The guard file of runs with a size. Every test is many clients, and its origins are its own.
const GUARD: &str = "limit 1000000/10m per client\nescalate 1000000/10m block 15m after 3 per client+path\ndetect block\ndetect exhausted pass\n";

/// One value for ordinary test runs, one for the long form.
pub fn short_or_long<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

/// The pause between two bytes of a slow attacker.
pub fn tick() -> Duration {
    short_or_long(Duration::from_millis(100), Duration::from_secs(1))
}

/// Tells an attack that it has lasted long enough.
#[derive(Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// Whether to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// An attack, and the bounds that must hold.
pub struct Attack<'a> {
    /// For the table.
    pub name: &'a str,
    /// The option or constant that bounds it.
    pub bound: &'a str,
    /// The number of the statistics that tells of it.
    pub counter: &'a str,
    /// Options of weir.
    pub options: &'a [&'a str],
    /// By how much the process may grow beyond what it was before, in KiB.
    pub growth_kib_max: u64,
}

impl Attack<'_> {
    /// Times the good client without the attack and with it, prints the row, and sees to it that memory stays within
    /// its bound and the counter counts. Returns the daemon and its statistics, taken when the attack was over; `None` in a run
    /// with a size, where other bounds may be reached before those that a test is about.
    #[track_caller]
    pub fn run(&self, attack: impl FnOnce(&Weir, &Stop) + Send) -> Option<(Weir, Statistics)> {
        raise_descriptors();
        let scratch = Scratch::new();
        let (size, guard) = (memory(), scratch.file("guard", GUARD));
        let mut options = [self.options, &["--stats-every", "0", "--idle-origin-timeout", "1"]].concat();
        // What an attack sets itself, it keeps.
        if let Some(size) = size.as_deref() {
            for more in [&["--memory", size][..], &["--guard", &guard], &["--cache"]] {
                options.extend(more.iter().filter(|_| !self.options.contains(&more[0])));
            }
        }
        let weir = Weir::start(&options);
        let good = Origin::answering(
            [&b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n"[..], &[b'x'; 1024]].concat(),
        );
        let mut client = weir.connect_from("127.0.0.9");
        let quiet = Latencies::measure(&weir, &mut client, &good, short_or_long(300, 3000));
        let before = weir.footprint();
        let stop = Stop::default();
        let watch = Watch::default();
        let loud = std::thread::scope(|scope| {
            let _end = size.is_some().then(|| watch.begin(scope, &weir));
            std::thread::scope(|scope| {
                scope.spawn(|| attack(&weir, &stop));
                let _end = SetOnDrop(&stop.0);
                Latencies::measure(&weir, &mut client, &good, short_or_long(1200, 10_000))
            })
        });
        let (statistics, after) = (weir.statistics(), weir.footprint());
        let peak = if size.is_some() { watch.peak_kib.into_inner() } else { after.peak_kib };
        let shed =
            ["cache", "origins", "clients"].map(|from| statistics.get(&format!("limit_memory_{from}")));
        println!(
            "| {:<34} | {:<36} | {:>28} | {:>8} | {peak:>8} | {quiet} | {loud} | {:>12} |",
            self.name,
            self.bound,
            format!("{} = {}", self.counter, statistics.get(self.counter)),
            before.resident_kib,
            shed.map(|count| count.to_string()).join(" "),
        );
        assert!(statistics.get(self.counter) > 0, "{} counted nothing: {statistics:?}", self.counter);
        if let Some(size) = &size {
            let most = kib(size);
            assert!(peak <= most, "{peak} KiB of {most}: {statistics:?}");
            drop(client);
            weir.wait_until_idle();
            return None;
        }
        let growth = after.peak_kib.saturating_sub(before.resident_kib);
        assert!(growth <= self.growth_kib_max, "{growth} KiB more, over {}", self.growth_kib_max);
        Some((weir, statistics))
    }
}

/// A size such as 32M in KiB.
fn kib(size: &str) -> u64 {
    let number = size.strip_suffix('M').and_then(|number| number.parse::<u64>().ok());
    number.expect("a size in MB") << 10
}

/// Looks at the memory of a daemon until the end.
#[derive(Default)]
struct Watch {
    over: AtomicBool,
    peak_kib: AtomicU64,
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Watch {
    fn begin<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        weir: &'scope Weir,
    ) -> SetOnDrop<'scope> {
        scope.spawn(|| {
            while !self.over.load(Ordering::SeqCst) {
                let now = weir.footprint().proportional_kib.unwrap_or(0);
                self.peak_kib.fetch_max(now, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        SetOnDrop(&self.over)
    }
}

/// Also when a client or an attack has failed.
impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// How long an attack may take: longer in a run with a size, where clients wait for memory, some after others.
pub fn patience() -> Duration {
    DEADLINE * if memory().is_some() { 6 } else { 1 }
}

/// Waits until it is so.
#[track_caller]
pub fn finally(what: &str, mut it_is_so: impl FnMut() -> bool) {
    let end = Instant::now() + patience();
    while !it_is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How long the requests of the good client took.
struct Latencies(Vec<Duration>);

impl Latencies {
    /// In a run with a size an attack may take all blocks for a while: requests wait for one, and are refused in the end.
    fn measure(weir: &Weir, client: &mut Raw, origin: &Origin, for_ms: u64) -> Latencies {
        let (mut all, end) = (Vec::new(), Instant::now() + Duration::from_millis(for_ms));
        while Instant::now() < end {
            let began = Instant::now();
            client.send_if_open(origin.get("/good"));
            match client.try_read_response("GET") {
                Ok(answer) if answer.status() == 200 => assert_eq!(answer.body.bytes.len(), 1024),
                waited if memory().is_some() => {
                    assert!(waited.is_err() || waited.is_ok_and(|answer| answer.status() == 503));
                    *client = weir.connect_from("127.0.0.9");
                }
                other => panic!("the good client: {other:?}"),
            }
            all.push(began.elapsed());
            std::thread::sleep(Duration::from_millis(3));
        }
        all.sort_unstable();
        Latencies(all)
    }

    fn at(&self, share: f64) -> f64 {
        let index = (self.0.len() as f64 * share) as usize;
        self.0[index.min(self.0.len() - 1)].as_secs_f64() * 1000.0
    }
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>7.2} {:>8.2}", self.at(0.5), self.at(0.99))
    }
}

/// Crowds need descriptors, here as well as in the daemon.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Many connections of one attacker, none of which is waited for.
pub struct Crowd {
    address: SocketAddr,
    members: Vec<Member>,
}

struct Member {
    stream: TcpStream,
    sent: usize,
}

impl Crowd {
    /// Connects so many, each of which says this at once.
    pub fn connect(weir: &Weir, count: usize, first: &[u8]) -> Crowd {
        let address = weir.address();
        let connect = |_| {
            let mut member = Member::connect(address);
            let _ = member.stream.write(first);
            member
        };
        Crowd { address, members: (0..count).map(connect).collect() }
    }

    /// Sends the next byte of `bytes` on each connection (the last byte again and again). A connection that was
    /// closed or answered is opened again, as an attacker would. Returns how many were.
    pub fn send_next(&mut self, bytes: &[u8]) -> usize {
        let mut renewed = 0;
        for member in &mut self.members {
            let silent =
                matches!(member.stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
            let next = bytes[member.sent.min(bytes.len() - 1)];
            if silent && member.stream.write(&[next]).is_ok() {
                member.sent += 1;
            } else {
                *member = Member::connect(self.address);
                renewed += 1;
            }
        }
        renewed
    }

    /// How many are closed by now; what they are told is thrown away.
    pub fn closed(&mut self) -> usize {
        let mut block = [0; 4096];
        let mut is_closed = |member: &mut Member| loop {
            match member.stream.read(&mut block) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        };
        self.members.iter_mut().filter_map(|member| is_closed(member).then_some(())).count()
    }
}

impl Member {
    /// From an address of its own, so that the good client has another one.
    fn connect(address: SocketAddr) -> Member {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // As small as the system allows, for clients that do not read.
        socket.set_recv_buffer_size(4096).expect("a buffer size");
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0)).into()).expect("a source address");
        socket.connect(&address.into()).expect("a connection");
        socket.set_nonblocking(true).expect("a mode");
        Member { stream: socket.into(), sent: 0 }
    }
}

/// Does it again and again on so many threads until it is enough.
pub fn repeat(stop: &Stop, threads: usize, work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // At least once, whatever the clock says.
                loop {
                    work();
                    if stop.is_set() {
                        break;
                    }
                }
            });
        }
    });
}
